import csv

import pytest
import torch

from secateur.config.baseline import TrainingSection
from secateur.determinism import fix_randomness
from secateur.errors import ModelError
from secateur.models.families import family_of
from secateur.training.history import HistoryRow, write_history
from secateur.training.loop import Plan, adamw, evaluation_steps, train_, warm_up_and_decay
from secateur.training.objectives import CrossEntropy
from secateur.training.validation import validate
from tests.unit.pruning.material import tiny_model, tiny_rows

ROWS = tiny_rows(64)
HELD_OUT = tiny_rows(30, seed=1)


def settings(**changes) -> TrainingSection:
    values = {
        "epochs": 2,
        "learning_rate": 5e-3,
        "batch_size": 8,
        "weight_decay": 0.01,
        "warmup_fraction": 0.1,
        "label_smoothing": 0.0,
        "train_embeddings": True,
        "max_grad_norm": 1.0,
    }
    return TrainingSection(**{**values, **changes})


def train(*, precision="fp32", seed=3, **changes):
    plan_names = ("evaluations_per_epoch", "patience", "evaluate_first")
    plan = {name: changes.pop(name) for name in plan_names if name in changes}
    fix_randomness(seed=seed, num_threads=1)
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = train_(
        model,
        train=ROWS,
        validation=HELD_OUT,
        objective=CrossEntropy(0.0),
        plan=Plan(title="test", settings=settings(**changes), seed=seed, precision=precision, **plan),
    )
    return model, trained, before


def changed(model, before) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_it_learns():
    _, trained, _ = train(epochs=15, learning_rate=1e-2)
    assert trained.best.macro_f1 > 0.9
    assert trained.history[0].train_loss > trained.history[-1].train_loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_seed_same_bits(precision):
    first, again = train(epochs=1, precision=precision), train(epochs=1, precision=precision)
    assert not changed(first[0], again[0].state_dict())
    assert first[1] == again[1]
    assert changed(train(epochs=1, precision=precision, seed=4)[0], first[0].state_dict())


def test_no_epochs_change_nothing():
    model, trained, before = train(epochs=0)
    assert not changed(model, before)
    assert [row.step for row in trained.history] == [0]


def test_frozen_embeddings_stay_and_are_thawed_after():
    model, _, before = train(epochs=1, train_embeddings=False)
    assert {name for name in before if "embeddings" in name}.isdisjoint(changed(model, before))
    assert any("encoder" in name for name in changed(model, before))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_best_weights_are_kept():
    # A rate that wrecks the model: the untrained weights are the best ones.
    model, trained, before = train(epochs=1, learning_rate=0.9, evaluate_first=True)
    scores = [row.validation_macro_f1 for row in trained.history]
    assert trained.best.macro_f1 == max(scores)
    assert validate(model, HELD_OUT, batch_size=16, precision="fp32") == trained.best
    if scores[0] == max(scores):
        assert not changed(model, before)


def test_patience_ends_it():
    _, trained, _ = train(epochs=20, learning_rate=1e-9, evaluations_per_epoch=2, patience=2)
    assert len(trained.history) == 3


def test_a_part_of_an_epoch():
    _, trained, _ = train(epochs=0.5)
    assert [(row.step, row.epoch) for row in trained.history] == [(4, 0.5)]


def test_divergence_is_named():
    class Broken(CrossEntropy):
        def __call__(self, logits, batch):
            return super().__call__(logits, batch) * float("nan")

    plan = Plan(title="r1", settings=settings(epochs=1), seed=0, precision="fp32")
    with pytest.raises(
        ModelError, match=r"r1: the loss is nan at step 8 of 8; a learning_rate below 0\.005 would work"
    ):
        train_(tiny_model(), train=ROWS, validation=HELD_OUT, objective=Broken(0.0), plan=plan)


def test_rate_rises_and_falls():
    factors = [warm_up_and_decay(step, num_steps=10, warmup_fraction=0.2) for step in range(1, 11)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[1:] == sorted(factors[1:], reverse=True)
    assert factors[-1] > 0
    assert warm_up_and_decay(1, num_steps=1, warmup_fraction=0.0) == 1.0


@pytest.mark.parametrize(
    ("num_steps", "per_epoch", "evaluations", "expected"),
    [(20, 10, 1, {10, 20}), (20, 10, 2, {5, 10, 15, 20}), (13, 10, 1, {10, 13}), (3, 10, 1, {3}), (0, 10, 1, set())],
)
def test_evaluation_steps(num_steps, per_epoch, evaluations, expected):
    assert evaluation_steps(num_steps, per_epoch, evaluations) == expected


def test_biases_and_norms_are_not_decayed():
    model = tiny_model()
    decayed, plain = adamw(model, settings=settings()).param_groups
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0.0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    norm = family_of(model).embeddings(model).LayerNorm.weight
    assert any(parameter is norm for parameter in plain["params"])


def test_history_file(tmp_path):
    row = HistoryRow(8, 0.5, None, 1e-4, 1.25, 0.5, 0.25)
    write_history(tmp_path / "h.csv", [row])
    with (tmp_path / "h.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "step": "8",
                "epoch": "0.5",
                "train_loss": "",
                "learning_rate": "0.0001",
                "validation_loss": "1.25",
                "validation_accuracy": "0.5",
                "validation_macro_f1": "0.25",
            }
        ]

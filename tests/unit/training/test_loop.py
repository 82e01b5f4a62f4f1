import csv
from dataclasses import fields

import pytest
import torch
from torch import nn

from secateur.config.training import TrainingSection
from secateur.determinism import fix_randomness
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.quality import MACRO_F1
from secateur.training.best_weights import Best, Hope
from secateur.training.history import Pass, write_history
from secateur.training.loop import Plan, train_
from secateur.training.objectives import LabelLoss
from secateur.training.optimizer import clip_, optimizer_for
from secateur.training.schedule import evaluation_steps, warm_up_and_decay
from secateur.training.validation import Scores, validate
from tests.unit.pruning.tiny import tiny_model, tiny_rows

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


PLAN = {field.name for field in fields(Plan)} - {"title", "settings", "seed", "precision"}


def train(*, precision="fp32", seed=3, constraint=None, objective=None, **changes):
    plan = {name: changes.pop(name) for name in PLAN & changes.keys()}
    fix_randomness(seed=seed, num_threads=1)
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = train_(
        model,
        train=ROWS,
        validation=HELD_OUT,
        objective=objective or LabelLoss(0.0),
        plan=Plan(title="test", settings=settings(**changes), seed=seed, precision=precision, **plan),
        constraint=constraint and constraint(model),
    )
    return model, trained, before


def changed(model, before) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_it_learns():
    _, trained, _ = train(epochs=15, learning_rate=1e-2)
    assert trained.best.quality > 0.9
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
    scores = [row.scores.quality for row in trained.history]
    assert trained.best.quality == max(scores)
    assert validate(model, HELD_OUT, batch_size=16, precision="fp32") == trained.best
    if scores[0] == max(scores):
        assert not changed(model, before)


def test_patience_ends_it():
    _, trained, _ = train(epochs=20, learning_rate=1e-9, evaluations_per_epoch=2, patience=2)
    assert len(trained.history) == 3


def test_a_part_of_an_epoch():
    _, trained, _ = train(epochs=0.5)
    assert [(row.step, row.epoch) for row in trained.history] == [(4, 0.5)]


def test_a_loss_that_is_no_number_is_named_at_once():
    class Broken(LabelLoss):
        def __call__(self, outputs, batch):
            return super().__call__(outputs, batch) * float("nan")

    expected = r"test: step 1 of 8: the loss is nan, .*; a learning_rate below 0\.005 would work"
    with pytest.raises(ModelError, match=expected):
        train(epochs=1, objective=Broken(0.0))


def test_gradients_that_are_no_numbers_are_named():
    class Root(LabelLoss):
        """A finite loss whose gradient is infinite: the root of zero."""

        def __call__(self, outputs, batch):
            return super().__call__(outputs, batch) + (outputs.logits * 0.0).square().sum().sqrt()

    expected = (
        r"test: step 1 of 8: bert\.\S+ and \d+ more parameters hold NaN or infinite gradients; a learning_rate below"
    )
    with pytest.raises(ModelError, match=expected):
        train(epochs=1, objective=Root(0.0))


def test_one_bad_gradient_is_found_among_good_ones():
    model = tiny_model()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.classifier.weight.grad[0, 0] = float("nan")
    expected = r"^here: classifier\.weight holds NaN or infinite gradients; a learning_rate below 0\.005 would work$"
    with pytest.raises(ModelError, match=expected):
        clip_(model, loss=torch.tensor(1.0), settings=settings(), where="here")


def test_gradients_are_clipped_to_their_norm():
    model = tiny_model()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    clip_(model, loss=torch.tensor(1.0), settings=settings(max_grad_norm=0.25), where="here")
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert norm.item() == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_weights_are_refused_before_the_first_step(value):
    model = tiny_model()
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.bias[3] = value
    plan = Plan(title="r1", settings=settings(), seed=0, precision="fp32")
    expected = (
        r"^r1: bert\.encoder\.layer\.1\.output\.dense\.bias holds NaN or infinite weights before the first step; "
        r"a checkpoint without them would work$"
    )
    with pytest.raises(ModelError, match=expected):
        train_(model, train=ROWS, validation=HELD_OUT, objective=LabelLoss(0.0), plan=plan)


class Recorder:
    """A constraint that holds one bias at zero and remembers every call and all weights."""

    def __init__(self, model):
        self.model, self.calls, self.weights = model, [], []

    @torch.no_grad()
    def after_step_(self, *, learning_rate, progress):
        self.model.classifier.bias.zero_()
        self.calls.append((learning_rate, progress))
        self.weights.append([parameter.detach().clone() for parameter in self.model.parameters()])


def recorded(**changes):
    made = []

    def build(model):
        made.append(Recorder(model))
        return made[0]

    model, trained, before = train(constraint=build, **changes)
    return model, trained, before, made[0]


def test_few_rows_are_seen_until_there_are_steps_enough():
    _, trained, _ = train(epochs=1.5, min_steps=20)
    assert (trained.history[-1].step, trained.history[-1].epoch) == (20, 2.5)
    length = trained.length
    assert (length.asked_epochs, length.epochs, length.steps, length.is_extended) == (1.5, 2.5, 20, True)
    assert length.summary() == "20 steps (min_steps), which are 2.5 epochs of so few rows; epochs=1.5 would be fewer"


def test_a_floor_that_does_not_bind_changes_no_bit():
    plain, without, _ = train(epochs=2)
    floored, with_floor, _ = train(epochs=2, min_steps=16)
    assert not changed(floored, plain.state_dict())
    assert with_floor.history == without.history
    assert not with_floor.length.is_extended


def test_patience_waits_for_the_floor():
    stopped = {
        floor: train(epochs=6, min_steps=floor, learning_rate=1e-9, patience=1)[1].history[-1].step for floor in (0, 24)
    }
    assert stopped == {0: 16, 24: 24}


def test_below_the_floor_it_ends_when_loss_and_score_stay_where_they_are():
    # Such a rate changes no weight in fp32.
    _, trained, _ = train(epochs=1, min_steps=120, learning_rate=1e-12)
    length = trained.length
    assert length.ended is not None and 24 < length.ended == trained.history[-1].step < 120
    assert length.as_dict() == {
        "asked_epochs": 1,
        "min_steps": 120,
        "epochs": 15.0,
        "steps": 120,
        "ended": length.ended,
    }
    assert length.summary().startswith(f"ended after {length.ended} of 120 steps: ")
    falling = train(epochs=1, min_steps=48, learning_rate=1e-4)[1]
    assert falling.length.ended is None and falling.history[-1].step == 48


def test_hope_is_lost_when_neither_loss_nor_score_was_better_for_five_passes():
    def came_to(loss: float, score: float) -> Scores:
        return Scores(MACRO_F1, loss=loss, values={"macro_f1": score})

    hope = Hope()
    for loss, score in ((0.7, 0.5), (0.6, 0.4), (0.9, 0.6), *[(0.8, 0.6)] * 4):
        hope.update(came_to(loss, score))
        assert not hope.is_lost
    hope.update(came_to(0.6, 0.5))
    assert hope.is_lost
    hope.update(came_to(0.5, 0.3))
    assert not hope.is_lost


def test_no_epochs_have_no_floor():
    model, trained, before = train(epochs=0, min_steps=20)
    assert not changed(model, before)
    assert (trained.length.steps, trained.length.is_extended) == (0, False)


def test_the_constraint_is_called_after_every_step_and_has_the_last_word():
    model, _, _, recorder = recorded(epochs=2, warmup_fraction=0.25)
    rates = [5e-3 * warm_up_and_decay(step, num_steps=16, warmup_fraction=0.25) for step in range(1, 17)]
    assert recorder.calls == [(rate, step / 16) for step, rate in enumerate(rates, start=1)]
    assert model.classifier.bias.count_nonzero() == 0
    assert any(weights[-2].count_nonzero() for weights in recorder.weights)


def test_best_by_loss_keeps_the_lowest_loss():
    found = [(0.5, 0.6), (0.6, 0.9), (0.4, 0.5), (0.4, 0.9)]
    scores = [Scores(MACRO_F1, loss=loss, values={"macro_f1": f1}) for loss, f1 in found]
    kept = {}
    for by in ("loss", "quality"):
        best = Best(by=by)
        for step, score in enumerate(scores):
            best.update(score, nn.Linear(1, 1), step=step)
        kept[by] = (best.step, best.passes_since)
    assert kept == {"loss": (2, 1), "quality": (1, 2)}


def test_a_promise_is_held_against_what_is_likely():
    """The first score is the better one by labels and by loss, and what it probably came to breaks the promise."""
    flattered, honest = (
        Scores(MACRO_F1, loss=loss, values={"macro_f1": f1}, likely=likely)
        for loss, f1, likely in ((0.4, 0.9, 0.78), (0.5, 0.8, 0.81))
    )
    best = Best(by="loss", floor=0.8)
    for step, score in enumerate((flattered, honest)):
        best.update(score, nn.Linear(1, 1), step=step)
    assert best.step == 1
    assert honest.as_metrics()["validation_likely_macro_f1"] == 0.81


def test_best_by_reaches_the_run():
    _, trained, _ = train(epochs=8, learning_rate=2e-2, best_by="loss")
    assert trained.best.loss == min(row.scores.loss for row in trained.history)


def test_options_that_are_off_change_nothing():
    plain, _, _ = train(epochs=1)
    explicit, _, _ = train(epochs=1, best_by="quality")
    assert not changed(explicit, plain.state_dict())


@pytest.mark.parametrize("train_embeddings", [True, False])
def test_the_model_leaves_training_as_it_came(train_embeddings):
    model, _, _ = train(epochs=0.25, precision="bf16", train_embeddings=train_embeddings)
    assert {type(module) for module in model.modules()} == {type(module) for module in tiny_model().modules()}
    assert not any(module._forward_hooks or module.training for module in model.modules())


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
    decayed, plain = optimizer_for(model, settings=settings()).param_groups
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0.0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    norm = family_of(model).embeddings(model).LayerNorm.weight
    assert any(parameter is norm for parameter in plain["params"])


def test_muon_turns_the_matrices_of_the_layers_and_adamw_the_rest():
    model = tiny_model()
    matrices, embeddings, plain = optimizer_for(model, settings=settings(optimizer="muon")).param_groups
    query = family_of(model).layers(model)[0].attention.query.weight
    words = family_of(model).embeddings(model).word_embeddings.weight
    assert any(parameter is query for parameter in matrices["params"])
    assert any(parameter is words for parameter in embeddings["params"])
    assert sum(len(group["params"]) for group in (matrices, embeddings, plain)) == len(list(model.parameters()))


def test_a_step_of_muon_changes_a_matrix_equally_in_all_directions():
    model = tiny_model()
    query = family_of(model).layers(model)[0].attention.query.weight
    optimizer = optimizer_for(model, settings=settings(optimizer="muon", weight_decay=0.0, learning_rate=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    before = query.detach().clone()
    query.grad = torch.randn(query.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    sizes = torch.linalg.svdvals(before - query.detach())
    # Five Newton-Schulz steps bring singular values near 1; the scale is that of Liu et al. 2025, section 2.2.
    assert torch.allclose(sizes / (0.01 * 0.2 * max(query.shape) ** 0.5), torch.ones_like(sizes), atol=0.4)


def test_muon_learns():
    _, trained, _ = train(optimizer="muon", epochs=4)
    assert trained.history[-1].train_loss < trained.history[0].train_loss


def test_history_file(tmp_path):
    scores = Scores(MACRO_F1, loss=1.25, values={"accuracy": 0.5, "macro_f1": 0.25})
    write_history(tmp_path / "h.csv", [Pass(8, 0.5, None, 1e-4, scores)], kind="classification")
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

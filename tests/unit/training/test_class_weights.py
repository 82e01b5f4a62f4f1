import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from secateur.data.tokens import from_lists
from secateur.determinism import fix_randomness
from secateur.evaluation.metrics import confusion
from secateur.pruning.training import DenseModel, Work, _lesson
from secateur.training.batches import Batch
from secateur.training.class_weights import class_weights
from secateur.training.loop import Plan, train_
from secateur.training.objectives import Distillation, LabelLoss, Outputs, logits_of
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model
from tests.unit.training.test_loop import settings

LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])


def batch_of(labels) -> Batch:
    ids = torch.zeros(len(labels), 1, dtype=torch.long)
    index = torch.arange(len(labels))
    return Batch(ids, ids + 1, labels=torch.tensor(labels), index=index, kind="classification")


def test_every_label_counts_the_same_and_a_row_counts_one_on_average():
    weights = class_weights(LABELS, "balanced", num_labels=3)
    assert torch.allclose(weights, torch.tensor([0.5, 1.5, 3.0]))
    assert weights[LABELS].mean().item() == pytest.approx(1.0)
    assert class_weights(LABELS, "none", num_labels=3) is None


def test_the_loss_is_the_mean_over_the_rows_so_that_parts_of_a_batch_add_up():
    weights, logits = class_weights(LABELS, "balanced", num_labels=3), torch.randn(9, 3)
    loss = LabelLoss(0.1, class_weights=weights)
    whole = loss(Outputs(logits), batch_of(LABELS))
    each = cross_entropy(logits, torch.from_numpy(LABELS), label_smoothing=0.1, reduction="none")
    assert whole.item() == pytest.approx((each * weights[LABELS]).mean().item())
    halves = np.split(np.arange(9), [4])
    parts = [len(rows) / 9 * loss(Outputs(logits[rows]), batch_of(LABELS[rows])) for rows in halves]
    assert torch.stack(parts).sum().item() == pytest.approx(whole.item(), rel=1e-6)


def test_the_distance_from_the_dense_model_has_no_weights():
    logits, batch = torch.randn(9, 3), batch_of(LABELS)
    weights = class_weights(LABELS, "balanced", num_labels=3)
    given = {"teacher_logits": torch.randn(9, 3), "temperature": 2.0, "label_smoothing": 0.0}
    plain, weighted = (Distillation(**given, weight=1.0, class_weights=some) for some in (None, weights))
    assert plain(Outputs(logits), batch) == weighted(Outputs(logits), batch)
    half = Distillation(**given, weight=0.5, class_weights=weights)(Outputs(logits), batch)
    hard = LabelLoss(0.0, class_weights=weights)(Outputs(logits), batch)
    assert half.item() == pytest.approx((0.5 * hard + 0.5 * plain(Outputs(logits), batch)).item(), rel=1e-5)


def test_a_recovery_weighs_as_the_dense_model_has():
    rows = from_lists([[2, 9, 3]] * 9, labels=LABELS)
    prune = prune_settings()
    for asked in ("none", "balanced"):
        work = Work(
            train=rows,
            validation=rows,
            dense_model=DenseModel(tiny_model(), 0.5, logits=torch.zeros(9, 3), class_weights=asked),
            settings=prune,
            recovery=prune.recovery,
            action="remove",
            target=0.5,
            seed=0,
            precision="fp32",
            title="test",
        )
        expected, found = class_weights(LABELS, asked, num_labels=3), _lesson(work).class_weights
        assert found is expected if expected is None else torch.equal(found, expected)


def test_a_rare_label_is_found_more_often():
    """One row in 20 is of it, and what tells it stands in most of them; it also stands in a tenth of the others."""
    draw = np.random.default_rng(0)
    labels = (np.arange(240) % 20 == 0).astype(np.int64)
    telling = np.where(labels == 1, draw.random(240) < 0.7, draw.random(240) < 0.1)
    rows = from_lists([[2, *draw.integers(10, 40, 4), 5 + int(tells), 3] for tells in telling], labels=labels)
    found = []
    for asked in ("none", "balanced"):
        fix_randomness(seed=0, num_threads=1)
        model = tiny_model(num_labels=2)
        loss = LabelLoss(0.0, class_weights=class_weights(labels, asked, num_labels=2))
        plan = Plan(title="test", settings=settings(epochs=8, batch_size=32), seed=0, precision="fp32", best_by="last")
        train_(model, train=rows, validation=rows, objective=loss, plan=plan)
        said = logits_of(model, rows, batch_size=60, precision="fp32").argmax(dim=-1).numpy()
        found.append(confusion(labels, said, num_labels=2)[1, 1])
    assert found[0] < 6 < found[1]

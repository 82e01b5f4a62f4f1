"""Scores of rows with several labels: those of scikit-learn, with intervals, and what a person is shown of them."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from secateur.config.promote import PromoteSection
from secateur.evaluation.changes import changes_of
from secateur.evaluation.said import certainty_of, name_of, per_label_of_rows, said_by, scores_of_rows
from secateur.evaluation.slices import slice_scores
from secateur.evaluation.tf_idf import fit
from secateur.gate.condition import Answers, GateRows
from secateur.gate.groups import classes, slices
from secateur.kinds.registry import kind_named
from secateur.statistics.discordant import Discordant
from secateur.statistics.f1 import f1_by_label, macro_f1_of_rows, micro_f1_of_rows
from secateur.statistics.margins import effective_rows
from secateur.statistics.paired import bootstrap_macro_f1

DRAW = np.random.default_rng(0)
TRUTH = (DRAW.random((400, 3)) < [0.5, 0.3, 0.1]).astype(np.int64)
BEFORE = np.where(DRAW.random((400, 3)) < 0.1, 1 - TRUTH, TRUTH)
AFTER = np.where(DRAW.random((400, 3)) < 0.3, 1 - TRUTH, TRUTH)
NAMES = ["a", "b", "c"]


def test_scores_are_those_of_scikit_learn_and_their_intervals_hold_them():
    found = scores_of_rows(TRUTH, AFTER, num_labels=3, samples=500, level=0.9, seed=0)
    assert found["macro_f1"].value == pytest.approx(f1_score(TRUTH, AFTER, average="macro"))
    assert found["micro_f1"].value == pytest.approx(f1_score(TRUTH, AFTER, average="micro"))
    assert found["accuracy"].value == pytest.approx(accuracy_score(TRUTH, AFTER))
    assert all(one.low < one.value < one.high for one in found.values())
    assert macro_f1_of_rows(TRUTH, AFTER, num_labels=3) == pytest.approx(found["macro_f1"].value)
    assert micro_f1_of_rows(TRUTH, AFTER, num_labels=3) == pytest.approx(found["micro_f1"].value)
    one = per_label_of_rows(TRUTH, AFTER, num_labels=3)
    assert [entry["f1"] for entry in one] == pytest.approx(f1_score(TRUTH, AFTER, average=None).tolist())
    assert [entry["support"] for entry in one] == TRUTH.sum(axis=0).tolist()


def test_two_models_are_compared_in_pairs_of_rows():
    counts = Discordant.of(TRUTH, BEFORE, AFTER)
    was, is_ = (BEFORE == TRUTH).all(axis=1), (AFTER == TRUTH).all(axis=1)
    assert (counts.lost, counts.won, counts.rows) == ((was & ~is_).sum(), (~was & is_).sum(), 400)
    drawn = bootstrap_macro_f1(TRUTH, BEFORE, AFTER, num_labels=3, samples=1000, seed=0)
    f1 = [f1_by_label(TRUTH, said, num_labels=3)[1].mean() for said in (BEFORE, AFTER)]
    assert drawn.mean() == pytest.approx(f1[1] - f1[0], abs=0.01)
    assert (bootstrap_macro_f1(TRUTH, AFTER, AFTER, num_labels=3, samples=50, seed=0) == 0).all()


def test_the_gate_judges_every_label_and_every_slice():
    rows = GateRows(TRUTH, NAMES, {"first": np.arange(400) < 200}, np.zeros(0, np.int64), seed=0)
    answers = [Answers(said, 0, [1.0]) for said in (BEFORE, AFTER)]
    settings = PromoteSection()
    judged = classes(rows, answers[1], answers[0], settings)
    assert not judged.passed and "a: F1" in judged.reason
    assert "c." not in " ".join(judged.values), "c has fewer rows than are judged"
    found = slices(rows, answers[1], answers[0], settings)
    assert found.values["first.accuracy"] == pytest.approx((AFTER == TRUTH)[:200].all(axis=1).mean())
    assert classes(rows, answers[0], answers[0], settings).passed
    assert effective_rows([200, 200, 200], rows=200) == pytest.approx(200)
    assert effective_rows([50, 50], rows=100) == effective_rows([50, 50])


def test_rows_are_shown_with_all_their_labels_and_the_surest_mistakes_first():
    truth = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    logits = torch.tensor([[3.0, 2.0, -4.0], [-2.0, 3.0, -2.0], [0.5, -1.0, 1.0]])
    assert said_by(logits, sets=True).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    sure = certainty_of(logits, truth=truth)
    assert sure == pytest.approx(torch.sigmoid(torch.tensor([2.0, 3.0, 1.0])).tolist())
    assert [name_of(NAMES, row) for row in truth] == ["a | b", "(none)", "a"]
    assert name_of(NAMES, 1) == "b" and name_of(NAMES, -1) == "another label"
    slices_ = {"all": np.ones(3, np.bool_)}
    found = changes_of(logits, dense=-logits, labels=truth, names=NAMES, texts=["x", "y", "z"], slices=slices_)
    assert (found["gained"], found["both_wrong"], found["lost"]) == (1, 2, 0)
    assert found["gained_examples"][0]["label"] == "a | b" and found["gained_examples"][0]["dense"] == "c"
    score = slice_scores(slices_, labels=truth, predicted=said_by(logits, sets=True), num_labels=3)["all"]
    assert (score.accuracy, score.macro_f1) == (pytest.approx(1 / 3), pytest.approx((1.0 + 2 / 3) / 2))


def test_losses_and_divergences_are_those_of_each_label():
    kind = kind_named("multi_label")
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(TRUTH[:5]).float()
    expected = torch.nn.BCEWithLogitsLoss()(logits, labels)
    assert float(kind.loss(logits, labels)) == pytest.approx(float(expected), rel=1e-6)
    assert float(kind.loss(logits, labels, reduction="sum")) == pytest.approx(5 * float(expected), rel=1e-6)
    smooth = torch.nn.BCEWithLogitsLoss()(logits, 0.9 * labels + 0.05)
    assert float(kind.loss(logits, labels, label_smoothing=0.1)) == pytest.approx(float(smooth), rel=1e-6)
    p, q = logits.sigmoid(), logits.flip(0).sigmoid()
    apart = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert float(kind.apart(logits.flip(0), logits)) == pytest.approx(float(apart), rel=1e-5)
    signs = torch.randint(0, 2, (20_000, 3), generator=torch.Generator().manual_seed(1)).float() * 2 - 1
    drawn = kind.direction(logits[:1].expand_as(signs), signs)
    wanted = torch.diag((p * (1 - p))[0])
    assert torch.allclose(drawn.T @ drawn / len(drawn), wanted, atol=0.01)
    assert kind.untaught({"a": 50, "b": 100, "": 100}) == pytest.approx((2 / 3 + 1.0) / 2)
    assert kind.untaught({}) is None


def test_a_simple_model_of_each_label_learns_their_words():
    texts = [f"{word} {other} thing {i}" for i in range(15) for word in ("sun", "moon") for other in ("red", "blue")]
    labels = np.array([["sun" in text, "red" in text, False, True] for text in texts], np.int64)
    model = fit(texts, labels, validation=texts, validation_labels=labels, num_labels=4)
    assert model.settings.describe().startswith("one-vs-rest logistic regression")
    assert (model.predict(["a red moon", "blue sun"]) == [[0, 1, 0, 1], [1, 0, 0, 1]]).all()
    assert model.settings.validation_macro_f1 == pytest.approx(0.75)

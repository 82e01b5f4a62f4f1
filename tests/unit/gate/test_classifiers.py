"""The gate's conditions: which one holds a challenger back, and what it says."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secateur.config.promote import PromoteSection
from secateur.gate.classifiers import Answers, GateRows, judge
from secateur.statistics.discordant import Discordant, lowest_change
from tests.tiny import full_params

ROWS = 600


def _settings(**changes: Any) -> PromoteSection:
    values = full_params()["promote"]
    for name, value in changes.items():
        *parents, last = name.split("__")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = value
    return PromoteSection.model_validate(values)


def _gate_rows() -> GateRows:
    labels = np.arange(ROWS) % 3
    emoji = np.arange(ROWS) < 120
    return GateRows(
        labels=labels,
        names=("a", "b", "c"),
        slices={"emoji": emoji, "few": np.arange(ROWS) < 9},
        attacked_rows=np.arange(60),
        seed=0,
    )


GATE_ROWS = _gate_rows()


def _wrong(*rows: int) -> Answers:
    """Return answers that are wrong on some rows."""
    predicted = GATE_ROWS.labels.copy()
    predicted[list(rows)] = (predicted[list(rows)] + 1) % 3
    return Answers(predicted, 1000, [1.0, 1.1, 0.9], {"typos": GATE_ROWS.labels[:60]})


CHAMPION = _wrong(*range(0, 600, 10))


def _failed(challenger: Answers, champion: Answers | None = CHAMPION, **changes: Any) -> dict[str, str]:
    found = judge(GATE_ROWS, challenger=challenger, champion=champion, settings=_settings(**changes))
    assert all(condition.asked and condition.found and "\n" not in condition.reason for condition in found)
    return {condition.name: condition.reason for condition in found if not condition.passed}


def test_an_equal_challenger_passes_every_condition() -> None:
    found = judge(GATE_ROWS, challenger=CHAMPION, champion=CHAMPION, settings=_settings())
    assert [condition.name for condition in found] == [
        "quality_floor", "quality_drop", "accuracy_drop", "latency", "size", "classes", "slices", "robustness",
    ]  # fmt: skip
    assert all(condition.passed for condition in found)


def test_without_a_champion_what_needs_one_is_left_out() -> None:
    found = judge(GATE_ROWS, challenger=CHAMPION, champion=None, settings=_settings())
    assert [condition.name for condition in found] == ["quality_floor", "latency", "size", "classes", "slices"]
    assert all(condition.passed for condition in found)


def test_a_model_below_the_floor_is_held_without_a_champion() -> None:
    failed = _failed(_wrong(*range(0, 600, 2)), None, classes__min_recall=0.0, slices__min_accuracy=0.0)
    assert set(failed) == {"quality_floor"}
    assert "is below the floor 0.7000" in failed["quality_floor"]


LENIENT = {"classes__max_recall_drop": 1.0, "classes__max_f1_drop": 1.0, "slices__max_drop": 1.0}


def test_what_is_lost_must_be_shown_to_be_less_than_what_is_allowed() -> None:
    worse = _wrong(*range(0, 600, 10), *range(1, 600, 20))  # 30 rows lost, none won
    found = judge(GATE_ROWS, challenger=worse, champion=CHAMPION, settings=_settings(max_drop=0.1, **LENIENT))
    drop = {condition.name: condition.values for condition in found}
    lowest = min(drop["quality_drop"]["lowest"], drop["accuracy_drop"]["lowest"])
    assert -0.08 < lowest < drop["accuracy_drop"]["challenger_accuracy"] - 0.9 == pytest.approx(-0.05)
    assert _failed(worse, max_drop=-lowest + 1e-6, **LENIENT) == {}
    # The difference itself is less than this, and still it is not shown.
    failed = _failed(worse, max_drop=0.052, **LENIENT)
    assert set(failed) == {"quality_drop", "accuracy_drop"}
    assert "30 rows lost, 0 won; at 95 % confidence it is at most 0.06" in failed["accuracy_drop"]
    assert "0.0520 is allowed; that is not shown; some " in failed["accuracy_drop"]
    assert "more is lost than that" in _failed(worse, max_drop=0.04, **LENIENT)["accuracy_drop"]


def test_the_rows_that_are_named_would_have_shown_it() -> None:
    worse = _wrong(*range(0, 600, 10), *range(1, 600, 60))
    said = _failed(worse, max_drop=0.025, **LENIENT)["accuracy_drop"]
    needed = int(re.search(r"some (\d+) rows", said)[1])
    assert needed > ROWS
    for rows, passed in ((needed * 1.15, True), (needed * 0.85, False)):
        scale = rows / ROWS
        counts = Discordant(round(rows), lost=round(10 * scale), won=0)
        assert (lowest_change(counts, level=0.05) > -0.025) == passed


def test_few_rows_prove_nothing_although_no_answer_changed() -> None:
    few = replace(GATE_ROWS, labels=GATE_ROWS.labels[:30], slices={}, attacked_rows=np.arange(0))
    same = replace(CHAMPION, predicted=CHAMPION.predicted[:30])
    failed = {
        condition.name
        for condition in judge(few, challenger=same, champion=same, settings=_settings(max_drop=0.02))
        if not condition.passed
    }
    assert failed == {"accuracy_drop"}, "the resamples of equal answers are all equal, and know no chance"
    found = judge(few, challenger=same, champion=same, settings=_settings(max_drop="auto"))
    assert all(condition.passed for condition in found)
    [drop] = [condition for condition in found if condition.name == "quality_drop"]
    assert drop.asked.endswith("less than 0.1440 below the champion's (auto: all that these rows can show)")


def _population(lost: float, won: float) -> tuple[Any, Any, float]:
    """Return cells (label, champion's answer, challenger's answer), their shares, and the change of macro-F1."""
    cells, shares = [], []
    for label in range(3):
        for other in ((label + 1) % 3, (label + 2) % 3):
            cells += [(label, label, label), (label, label, other), (label, other, label), (label, other, other)]
            shares += [(0.85 - lost) / 6, lost / 6, won / 6, (0.15 - won) / 6]
    # Labels and mistakes are alike by symmetry, so that F1 is accuracy.
    return np.array(cells), np.array(shares), won - lost


@pytest.mark.parametrize(("lost", "won", "low", "high"), [(0.0675, 0.0325, 0.02, 0.085), (0.05, 0.05, 0.7, 0.9)])
def test_how_often_a_model_that_is_worse_by_the_margin_or_as_good_passes(lost, won, low, high) -> None:
    cells, shares, change = _population(lost, won)
    assert change in (pytest.approx(-0.035), 0.0)
    draw, times = np.random.default_rng(0), 400
    settings = _settings(max_drop=0.035 if change else "auto", significance__samples=400)
    passed = 0
    for seed in range(times):
        labels, before, after = cells[draw.choice(len(cells), size=500, p=shares)].T
        gate_rows = GateRows(labels, ("a", "b", "c"), {}, np.arange(0), seed)
        champion, challenger = (Answers(found, 1, [1.0]) for found in (before, after))
        found = judge(gate_rows, challenger=challenger, champion=champion, settings=settings)
        passed += all(c.passed for c in found if c.name in ("quality_drop", "accuracy_drop"))
    assert low <= passed / times <= high


def test_a_broken_class_is_named() -> None:
    broken = _wrong(*range(0, 600, 10), *range(2, 600, 3))
    reason = _failed(broken)["classes"]
    assert "c: recall 0.0" in reason
    assert "c: F1 fell from" in reason
    assert "a: recall" not in reason


def test_a_broken_slice_is_named_and_a_small_one_is_not_judged() -> None:
    reason = _failed(_wrong(*range(120)))["slices"]
    assert "emoji: accuracy fell from 0.9000 to 0.0000, 0.06 is allowed" in reason
    assert "few" not in reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latency__max_ms": 0.5}, "1.000 ms is more than 0.5 ms"),
        ({"latency__max_ratio": 0.9}, "1.000 of the champion's time is more than 0.9"),
        ({"size__max_bytes": 999}, "1000 bytes are more than 999"),
        ({"size__max_ratio": 0.99}, "1.000 of the champion's size is more than 0.99"),
    ],
)
def test_limits_of_time_and_size(changes: dict[str, Any], reason: str) -> None:
    [(name, said)] = _failed(CHAMPION, **changes).items()
    assert name == next(iter(changes)).partition("__")[0]
    assert reason in said


def test_time_is_compared_call_by_call() -> None:
    champion = replace(CHAMPION, latency_ms=[1.0, 10.0, 1.0])
    slower = replace(CHAMPION, latency_ms=[1.2, 12.0, 1.2])
    assert (
        "1.200 of the champion's time is more than 1.1" in _failed(slower, champion, latency__max_ratio=1.1)["latency"]
    )


def test_a_model_that_is_weaker_under_attack_is_held() -> None:
    weak = replace(CHAMPION, attacked={"typos": _wrong(*range(30)).predicted[:60]})
    assert "macro-F1 under typos fell from" in _failed(weak)["robustness"]


def test_an_unknown_label_counts_as_wrong() -> None:
    strange = replace(CHAMPION, predicted=np.full(ROWS, -1))
    assert "macro-F1 0.0000 on 600 test rows" in _failed(strange)["quality_floor"]

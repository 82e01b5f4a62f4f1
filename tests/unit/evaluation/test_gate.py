"""The gate's conditions: which one holds a challenger back, and what it says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secateur.config.promote import PromoteSection
from secateur.evaluation.gate import Answers, Material, judge
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


def _material() -> Material:
    labels = np.arange(ROWS) % 3
    emoji = np.arange(ROWS) < 120
    return Material(
        labels=labels,
        names=("a", "b", "c"),
        slices={"emoji": emoji, "few": np.arange(ROWS) < 9},
        attacked_rows=np.arange(60),
        seed=0,
    )


MATERIAL = _material()


def _wrong(*rows: int) -> Answers:
    """Return answers that are wrong on some rows."""
    predicted = MATERIAL.labels.copy()
    predicted[list(rows)] = (predicted[list(rows)] + 1) % 3
    return Answers(predicted, 1000, [1.0, 1.1, 0.9], {"typos": MATERIAL.labels[:60]})


CHAMPION = _wrong(*range(0, 600, 10))


def _failed(challenger: Answers, champion: Answers | None = CHAMPION, **changes: Any) -> dict[str, str]:
    found = judge(MATERIAL, challenger=challenger, champion=champion, settings=_settings(**changes))
    assert all(condition.asked and condition.found and "\n" not in condition.reason for condition in found)
    return {condition.name: condition.reason for condition in found if not condition.passed}


def test_an_equal_challenger_passes_every_condition() -> None:
    found = judge(MATERIAL, challenger=CHAMPION, champion=CHAMPION, settings=_settings())
    assert [condition.name for condition in found] == [
        "quality_floor", "quality_drop", "mcnemar", "bootstrap", "latency", "size", "classes", "slices", "robustness",
    ]  # fmt: skip
    assert all(condition.passed for condition in found)


def test_without_a_champion_what_needs_one_is_left_out() -> None:
    found = judge(MATERIAL, challenger=CHAMPION, champion=None, settings=_settings())
    assert [condition.name for condition in found] == ["quality_floor", "latency", "size", "classes", "slices"]
    assert all(condition.passed for condition in found)


def test_a_model_below_the_floor_is_held_without_a_champion() -> None:
    failed = _failed(_wrong(*range(0, 600, 2)), None, classes__min_recall=0.0, slices__min_accuracy=0.0)
    assert set(failed) == {"quality_floor"}
    assert "is below the floor 0.7000" in failed["quality_floor"]


def test_a_significant_loss_is_held_even_where_the_drop_is_allowed() -> None:
    worse = _wrong(*range(0, 600, 10), *range(1, 600, 20))  # 30 rows lost, none won
    lenient = {"max_drop": 0.1, "classes__max_recall_drop": 0.2, "classes__max_f1_drop": 0.2, "slices__max_drop": 0.2}
    failed = _failed(worse, significance__max_drop=0.0, **lenient)
    assert set(failed) == {"mcnemar", "bootstrap"}
    assert failed["mcnemar"].startswith(
        "30 rows lost, 0 won of 600: a loss of 0.0500 is significantly more than 0.0000"
    )
    assert _failed(worse, significance__max_drop=0.05, **lenient) == {}


def test_a_drop_is_held_by_its_size() -> None:
    failed = _failed(_wrong(*range(0, 600, 10), 1, 2, 3), max_drop=0.004)
    assert set(failed) == {"quality_drop"}
    assert "fell from 0.9000 to 0.8950" in failed["quality_drop"]


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

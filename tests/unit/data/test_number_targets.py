"""Numbers as targets: what splits keep the shares of, what is refused, and which texts are copies."""

import numpy as np
import pyarrow as pa
import pytest

from secateur.config.clean import CleanSection
from secateur.config.retrain import QualitySection
from secateur.data.cleaning import clean_rows
from secateur.data.drift import compare, findings
from secateur.data.number_targets import number_targets, strata_of
from secateur.data.profile import LabelledTexts, Profile
from secateur.data.quality import check_quality
from secateur.data.rules import row_rules_of
from secateur.errors import DataError
from secateur.readers.layout import Columns


def test_rows_are_divided_by_tenths_and_equal_numbers_stay_together() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    strata = strata_of(values)
    assert np.bincount(strata).tolist() == [100] * 10
    assert all(values[strata == low].max() < values[strata == low + 1].min() for low in range(9))
    grades = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [700, 5, 200, 60, 35])
    counts = np.bincount(strata_of(grades))
    assert counts.min() >= 20 and counts.sum() == 1000
    assert all(len(set(strata_of(grades)[grades == grade])) == 1 for grade in range(1, 6))
    assert strata_of(np.arange(7.0)).tolist() == [0] * 7


def test_numbers_that_a_model_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(DataError, match=r"all 3 rows have the number 2\.5; numbers that differ would work"):
        number_targets(["2.5"] * 3)
    seconds = [str(1_700_000_000 + second) for second in range(100)]
    with pytest.raises(DataError, match=r"a model computes seven digits.*numbers less 1700000000 would work"):
        number_targets(seconds)
    assert number_targets(["1", "2.5"]).values.tolist() == [1.0, 2.5]


def cleaned(rows: list[tuple[str, float]], **changes: str) -> dict[str, float]:
    rules = row_rules_of(CleanSection(**changes), Columns("text", "score", None, numbers=True))  # type: ignore[arg-type]
    many = [*rows, *((f"row number {n} of the others: {n * n}", float(n % 10)) for n in range(40))]
    columns = {"text": [text for text, _ in many], "label": [str(value) for _, value in many]}
    raw = pa.table({**columns, "confidence": [None] * len(many), "row": list(range(len(many)))})
    found = clean_rows(raw, rules, num_proc=1)
    assert not any(effect.labels for effect in found.effects), "numbers are no names to count by"
    kept = zip(found.texts, found.labels, strict=True)
    return {text: float(label) for text, label in kept if "of the others" not in text}


def test_copies_whose_numbers_are_near_are_one_and_far_ones_are_settled_by_the_median() -> None:
    assert cleaned([("the same text", 3.0), ("The same text", 3.5)]) == {"the same text": 3.0}
    far = [("the same text", 0.0), ("The same text", 4.0), ("THE SAME TEXT", 9.0)]
    assert cleaned(far) == {"The same text": 4.0}
    assert cleaned(far, label_conflicts="drop") == {}


def test_near_copies_stay_where_their_numbers_are_far_apart() -> None:
    text = "this is quite a long text about the weather in the mountains"
    assert cleaned([(text, 3.0), (f"{text}!", 3.4)]) == {text: 3.0}
    assert len(cleaned([(text, 1.0), (f"{text}!", 8.0)])) == 2


def numbered(values: list[float]) -> LabelledTexts:
    return LabelledTexts([f"text {n}" for n in range(len(values))], [str(v) for v in values], numbered=True)


def test_numbers_that_moved_are_drift_and_hold_a_retraining() -> None:
    before, now = numbered([float(n % 10) for n in range(300)]), numbered([float(n % 10) + 3 for n in range(300)])
    parts = compare(before, now)
    assert parts["labels"] is None and parts["numbers"]["median"] == {"reference": 4.5, "current": 7.5}
    assert any("the numbers moved (median 4.5 -> 7.5, KS 0.30)" in said for said in findings(parts))
    assert not compare(before, before)["numbers"]["drifted"]
    settings = QualitySection(min_rows=1, max_label_shift=0.2)
    conditions = {one.name: one for one in check_quality(Profile.of(now), Profile.of(before), settings)}
    held = conditions["change of the numbers' distribution"]
    assert not held.passed and "0.300 (median 4.5 -> 7.5)" in held.found and "labels" not in conditions

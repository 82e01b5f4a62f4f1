"""Which rows are fit to train on: each condition fails for its own reason, and only for it."""

from typing import Any

import pytest

from secateur.config.retrain import QualitySection, RetrainSection, parse_duration
from secateur.data.profile import LabelledTexts, Profile
from secateur.data.quality import check_quality

_LIMITS: dict[str, Any] = {
    "min_rows": 10,
    "max_empty": 0.1,
    "max_duplicates": 0.2,
    "max_lost_rows": 0.3,
    "max_label_shift": 0.1,
    "changed_labels": "hold",
}


def _rows(negative: int, positive: int, **other: int) -> LabelledTexts:
    counts = {"negative": negative, "positive": positive, **other}
    texts = [f"{label} {number}" for label, count in counts.items() for number in range(count)]
    return LabelledTexts(texts, [label for label, count in counts.items() for _ in range(count)])


def _failed(current: LabelledTexts, reference: LabelledTexts | None = None, **limits: Any) -> dict[str, str]:
    before = None if reference is None else Profile.of(reference)
    conditions = check_quality(Profile.of(current), before, QualitySection.model_validate(_LIMITS | limits))
    return {condition.name: condition.found for condition in conditions if not condition.passed}


def test_a_profile_counts_every_row_once() -> None:
    data = LabelledTexts(["a b", None, " ", "a b", "c", "d"], ["x", "x", "y", "y", None, "y"])
    assert Profile.of(data) == Profile(rows=6, empty=3, duplicates=1, labels={"x": 1, "y": 2})
    assert Profile.of(data).shares() == {"x": pytest.approx(1 / 3), "y": pytest.approx(2 / 3)}


def test_the_same_rows_pass() -> None:
    assert _failed(_rows(20, 20), _rows(20, 20)) == {}
    assert _failed(_rows(20, 20)) == {}


@pytest.mark.parametrize(
    ("current", "name", "found"),
    [
        (_rows(3, 3), "rows", "6"),
        (
            LabelledTexts([*_rows(15, 15).texts, *[""] * 10], [*_rows(15, 15).labels, *["positive"] * 10]),
            "rows without text or label",
            "0.250 (10)",
        ),
        (
            LabelledTexts([*_rows(10, 10).texts] * 2, [*_rows(10, 10).labels] * 2),
            "duplicate rows",
            "0.500 (20)",
        ),
    ],
)
def test_the_rows_alone_decide(current: LabelledTexts, name: str, found: str) -> None:
    assert _failed(current) == {name: found}


@pytest.mark.parametrize(
    ("current", "name", "found"),
    [
        (_rows(10, 10), "rows lost since the champion", "0.500 (40 -> 20)"),
        (_rows(28, 12), "change of a label's share", "0.200 (negative: 0.500 -> 0.700)"),
        (_rows(20, 20, neutral=2), "labels", "new: neutral"),
    ],
)
def test_the_champions_rows_decide(current: LabelledTexts, name: str, found: str) -> None:
    assert _failed(current, _rows(20, 20)) == {name: found}


def test_a_label_that_is_gone_is_named_and_may_be_accepted() -> None:
    before, now = _rows(19, 19, neutral=2), _rows(20, 20)
    assert _failed(now, before) == {"labels": "gone: neutral"}
    assert _failed(now, before, changed_labels="accept") == {}


def test_a_reason_says_what_was_asked_and_found() -> None:
    [condition] = check_quality(Profile.of(_rows(3, 3)), None, QualitySection.model_validate(_LIMITS))[:1]
    assert condition.reason == "rows: asked retrain.quality.min_rows=10 or more, found 6"


def test_no_usable_row_is_a_hold_and_no_crash() -> None:
    assert _failed(LabelledTexts([None, ""], ["a", None]), _rows(5, 5))["rows"] == "0"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("6h", 21600), ("30d", 2592000), ("1w", 604800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "10", "0m", "-1d", "1.5h", "10 minutes", "1m30s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration; write a whole number and a unit: 90s, 10m, 6h, 30d or 4w"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "99999999999d", "1" + "0" * 5000 + "w"])
def test_a_duration_of_more_than_a_century_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than a hundred years; write 36500d or less"):
        parse_duration(text)


def test_an_age_of_null_is_no_limit() -> None:
    section = {"max_age": None, "quality": _LIMITS, "drift_rows": 0, "metric_tolerance": 0.01, "push": False}
    assert RetrainSection.model_validate(section).age_limit is None

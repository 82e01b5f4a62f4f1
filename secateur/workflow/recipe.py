"""From what was seen of the rows to the parameters that a new project chooses, each with its reason; pure.

``table_size`` names what a table is too small for; these rules choose so that it has nothing to name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.config.run import Task
from secateur.data.splits import apportion, raised_share
from secateur.data.survey import First, Survey
from secateur.workflow.table_size import CHANGED_SHARE

_VALIDATION_ROWS, _MOST_VALIDATION_ROWS, _VALIDATION_SHARE = 400, 1500, 0.07
_TEST_ROWS, _MOST_TEST_ROWS, _TEST_SHARE = 500, 5000, 0.1
_TEST_ROWS_PER_LABEL = 20
_BATCH = 32
_STEPS, _RECOVERY_STEPS, _ROWS_PER_LABEL = 300, 200, 500
_ROWS_LEARNED, _FEWEST_EPOCHS, _MOST_EPOCHS = 28_000, 1.2, 3.0
_MOST_TOKENS, _FEWEST_CAPPED_ROWS = 6_000_000, 20_000
_MOST_READ, _SPAN = 512, 8
_WIDE = 768
_PROMISE = "of macro-F1 on validation, by the last round; r1 and r2 promise less"
_MARGIN = 0.8
"""Of the rows that are there now: the next table, or the rows that no model has learned from, may be a little fewer."""


@dataclass(frozen=True)
class Choice:
    """One line of params.yaml.

    Attributes:
        name: dotted.
        value: of the parameter.
        reason: a few words that name the number seen; empty where the user chose.
    """

    name: str
    value: Any
    reason: str = ""


@dataclass(frozen=True)
class Base:
    """The model that the project starts from.

    Attributes:
        max_tokens: that it can read; None while it is on a hub.
        hidden_size: features of a token; None while it is on a hub.
    """

    max_tokens: int | None = None
    hidden_size: int | None = None


@dataclass(frozen=True)
class Parts:
    """Rows of the parts as the stage ``clean`` will make them, and what params.yaml says to that end."""

    validation: int
    test: int
    train: int
    rarest: int
    validation_fraction: float
    test_fraction: float
    min_test_rows: int


def cleaning(first: First) -> Iterator[Choice]:
    """Choose the rules of cleaning that look at characters; they decide how many rows there are to divide."""
    if first.chars.low < 5:
        least = max(1, first.chars.low)
        yield Choice("clean.min_chars", least, f"a hundredth of the texts has {least} characters or fewer")
    if first.chars.high > 2000:
        most = min(20_000, 1000 * ceil(first.chars.high / 1000))
        yield Choice("clean.max_chars", most, f"95 % of the texts have at most {first.chars.high} characters")
    if first.script in ("Chinese or Japanese", "Hangul"):
        n = 2 if first.chars.median < 20 else 3
        said = f"{first.script}; half of the texts have {first.chars.median} characters or fewer"
        yield Choice("clean.near_duplicate_chars", n, said)


def parts_of(seen: Survey) -> Parts:
    """Divide the rows that cleaning leaves, by the arithmetic of the stage."""
    kept = seen.kept
    most = int(_MARGIN * kept) if seen.is_estimate else kept
    wanted_test = min(
        _MOST_TEST_ROWS, max(_TEST_ROWS, _TEST_ROWS_PER_LABEL * len(seen.labels), int(_TEST_SHARE * kept))
    )
    test_fraction = _TEST_SHARE if _TEST_SHARE * kept <= wanted_test else _rounded_up(wanted_test / kept)
    validation_fraction = (
        _VALIDATION_SHARE
        if _VALIDATION_SHARE * kept <= _MOST_VALIDATION_ROWS
        else _rounded_up(_MOST_VALIDATION_ROWS / kept)
    )
    min_test = max(_TEST_ROWS, min(1000, _TEST_ROWS_PER_LABEL * len(seen.labels)))
    counts = np.array([int(most / max(kept, 1) * count) for count in seen.labels.values()] or [most], np.int64)
    total = int(counts.sum())
    of_validation = _share(counts, validation_fraction, min_rows=_VALIDATION_ROWS)
    of_test = _share(counts, test_fraction, min_rows=min_test)
    learned = total - int(of_validation.sum()) - int(of_test.sum())
    if seen.test is not None:
        of_test = np.array([seen.test.get(name, 0) for name in seen.labels or ("",)], np.int64)
        learned = total - int(of_validation.sum())
    return Parts(
        validation=min(int(of_validation.sum()), _MOST_VALIDATION_ROWS),
        test=int(of_test.sum()),
        train=max(1, learned),
        rarest=int(of_test.min()),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        min_test_rows=min_test,
    )


def _share(counts: NDArray[np.int64], fraction: float, *, min_rows: int) -> NDArray[np.int64]:
    """Return the rows of each label that a part gets, as the stage ``clean`` apportions them."""
    total = int(counts.sum())
    return apportion(round(raised_share(fraction, min_rows=min_rows, num_rows=total) * total), counts)


def choices(seen: Survey, *, base: Base, task: Task, first: First) -> tuple[Choice, ...]:
    """Choose what depends on the rows, in the order of params.yaml.

    Args:
        seen: the rows.
        base: the model.
        task: what it will do.
        first: what the rules of cleaning were chosen by.
    """
    parts = parts_of(seen)
    length, why = _max_length(seen, base)
    found = [
        *cleaning(first),
        *_split(seen, parts),
        *_training(seen, parts, base=base, length=length, why=why),
        *_pruning(seen, parts, length=length, task=task),
        *_evaluation(seen, parts, length=length, task=task),
        *_gate(seen, parts, length=length, task=task),
        *_retraining(seen),
    ]
    return tuple(found)


def unseen(task: Task) -> tuple[Choice, ...]:
    """Choose for rows that are not here yet: what keeps few rows from being too few."""
    later = "the rows are not here yet"
    found = [
        Choice("clean.min_validation_rows", _VALIDATION_ROWS, f"at least; {later}"),
        Choice("clean.min_test_rows", _TEST_ROWS, "at least, of a fifth of the rows at most"),
        Choice("baseline.max_length", 128, f"tokens; {later}"),
        Choice("baseline.min_steps", _STEPS, "a dozen steps teach nothing, however few the rows are"),
        Choice("prune.recovery.min_steps", _RECOVERY_STEPS, "two thirds of baseline's"),
    ]
    if task == "generation":
        found += [*_full_precision(), Choice("evaluate.robustness.rows", 0, "attacks need labels")]
    return tuple(found)


def _full_precision() -> Iterator[Choice]:
    for name in ("prune.latency.runtime", "evaluate.deployed", "register.runtime"):
        yield Choice(name, "onnx", "a generator is deployed in full precision")


def _split(seen: Survey, parts: Parts) -> Iterator[Choice]:
    about = "about " if seen.is_estimate else ""
    if parts.validation_fraction != _VALIDATION_SHARE:
        said = f"{_MOST_VALIDATION_ROWS} of {about}{seen.kept} rows after cleaning choose well enough"
        yield Choice("clean.validation_fraction", parts.validation_fraction, said)
    said = f"{about}{seen.kept} of {seen.rows} rows are left after cleaning: {about}{parts.validation} validate"
    yield Choice("clean.min_validation_rows", _VALIDATION_ROWS, said)
    if seen.test is None:
        if parts.test_fraction != _TEST_SHARE:
            yield Choice("clean.test_fraction", parts.test_fraction, f"{_MOST_TEST_ROWS} rows judge well enough")
        fifth = ", a fifth at most" if parts.test < parts.min_test_rows else ""
        yield Choice("clean.min_test_rows", parts.min_test_rows, f"{about}{parts.test} test{fifth}")
    cap = train_cap(seen)
    if cap < parts.train:
        said = f"of {about}{parts.train}; null takes all, and longer than a night"
        yield Choice("clean.max_train_rows", cap, said)


def train_cap(seen: Survey) -> int:
    """Return how many training rows of this length a CPU learns from in hours rather than days."""
    length = min(_MOST_READ, _typical_tokens(seen))
    return max(_FEWEST_CAPPED_ROWS, 1000 * (_MOST_TOKENS // length // 1000))


def _training(seen: Survey, parts: Parts, *, base: Base, length: int, why: str) -> Iterator[Choice]:
    train = min(parts.train, train_cap(seen))
    yield Choice("baseline.max_length", length, why)
    epochs = round(min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, _ROWS_LEARNED / train)), 1)
    yield Choice("baseline.epochs", epochs, _looks(train))
    labels = max(1, len(seen.labels))
    steps = max(_STEPS, ceil(_ROWS_PER_LABEL * labels / _BATCH))
    said = "a dozen steps teach nothing, however few the rows are"
    if steps > _STEPS:
        said = f"each of {labels} labels is met {_ROWS_PER_LABEL} times"
    yield Choice("baseline.min_steps", steps, said)
    if base.hidden_size is None or base.hidden_size >= _WIDE:
        size = "a model of the hub may have" if base.hidden_size is None else "the model has"
        many = _WIDE if base.hidden_size is None else base.hidden_size
        yield Choice("baseline.learning_rate", 5e-5, f"{size} {many} features; 1e-4 is for 384")


def _looks(train: int) -> str:
    if train >= _ROWS_LEARNED / _FEWEST_EPOCHS:
        return f"{train} rows train: a look at each, and a little more"
    return f"{train} rows train: of fewer than {_ROWS_LEARNED} each is looked at more often"


def _pruning(seen: Survey, parts: Parts, *, length: int, task: Task) -> Iterator[Choice]:
    if task == "classification":
        drop = told_apart(parts.validation)
        said = f"as little as {parts.validation} validation rows tell from chance" if drop > 0.02 else _PROMISE
        yield Choice("prune.budget.max_drop", drop, said)
    typical = typical_length(seen, length)
    if task == "generation":
        yield from _full_precision()
    yield Choice("prune.latency.length", typical, f"half of the texts have {_typical_tokens(seen)} tokens or fewer")
    rows = min(1024 if len(seen.labels) > 8 else 512, parts.train)
    yield Choice("prune.calibration_rows", rows, f"of {parts.train} training rows")
    recovery = max(_RECOVERY_STEPS, ceil(_ROWS_PER_LABEL * max(1, len(seen.labels)) / _BATCH * 2 / 3))
    yield Choice("prune.recovery.min_steps", recovery, "two thirds of baseline's")


def _evaluation(seen: Survey, parts: Parts, *, length: int, task: Task) -> Iterator[Choice]:
    if task == "generation":
        yield Choice("evaluate.robustness.rows", 0, "attacks need labels")
    else:
        yield Choice("evaluate.robustness.rows", attacked(parts), f"of {parts.test} test rows")
    yield Choice("evaluate.latency.length", typical_length(seen, length), "as prune.latency.length")


def _gate(seen: Survey, parts: Parts, *, length: int, task: Task) -> Iterator[Choice]:
    rows = max(1, min(_TEST_ROWS, int(_MARGIN * parts.test)))
    yield Choice("promote.min_rows", rows, f"of {parts.test} test rows, with room for those that a model has seen")
    if task == "classification":
        guess = always_the_same(seen.labels)
        yield Choice("promote.min_macro_f1", ceil(20 * guess + 1) / 20, f"always the same answer has {guess:.2f}")
        yield from _scaled("promote.max_drop", 0.02, rows=rows, at=_TEST_ROWS)
    yield Choice("promote.latency.length", typical_length(seen, length), "as prune.latency.length")
    if task == "classification":
        yield from _groups(parts)


def _groups(parts: Parts) -> Iterator[Choice]:
    label = max(10, min(100, int(_MARGIN * parts.rarest)))
    yield Choice("promote.classes.min_rows", label, f"the rarest label has {parts.rarest} test rows")
    yield from _scaled("promote.classes.max_recall_drop", 0.05, rows=label, at=100)
    yield from _scaled("promote.classes.max_f1_drop", 0.05, rows=label, at=100)
    # Lengths are sliced in thirds, so that there are slices of this size.
    part = max(1, min(100, parts.test, max(20, int(_MARGIN * parts.test / 3))))
    yield Choice("promote.slices.min_rows", part, f"a third of {parts.test} test rows, or nearly")
    yield from _scaled("promote.slices.max_drop", 0.06, rows=part, at=100)
    yield Choice("promote.robustness.rows", attacked(parts), "as evaluate.robustness.rows")
    yield from _scaled("promote.robustness.max_drop", 0.05, rows=attacked(parts), at=256)


def _scaled(name: str, drop: float, *, rows: int, at: int) -> Iterator[Choice]:
    """Allow as much more as fewer rows tell less: their chance grows with one over the root of their number."""
    if rows < at:
        allowed = min(1.0, ceil(100 * drop * sqrt(at / rows)) / 100)
        yield Choice(name, allowed, f"{rows} rows tell this as well as {at} tell {drop:g}")


def _retraining(seen: Survey) -> Iterator[Choice]:
    rows = max(1, min(10_000, seen.kept // 2))
    yield Choice("retrain.quality.min_rows", rows, "half of today's rows: a table that lost more is not trained on")
    for name, allowed, part, whole, what in (
        ("max_empty", 0.05, seen.unusable, seen.rows, "have no text or no label"),
        ("max_duplicates", 0.9, seen.repeated, seen.rows - seen.unusable, "repeat an earlier one"),
    ):
        share = part / max(1, whole)
        if share > _MARGIN * allowed:
            limit = min(0.99, ceil(100 * (share + (1 - share) / 4)) / 100)
            yield Choice(f"retrain.quality.{name}", limit, f"{part} of {whole} rows {what}")


def told_apart(rows: int) -> float:
    """Return the smallest promise, in hundredths and from 0.02, that so many validation rows can tell from chance."""
    return min(1.0, max(0.02, ceil(100 * sqrt(CHANGED_SHARE / max(rows, 1))) / 100))


def attacked(parts: Parts) -> int:
    """Return how many test rows are attacked."""
    return max(1, min(256, int(_MARGIN * parts.test)))


def always_the_same(labels: Mapping[str, int]) -> float:
    """Return the macro-F1 of a model that always gives the most frequent label."""
    if not labels:
        return 0.0
    share = max(labels.values()) / max(1, sum(labels.values()))
    return 2 * share / (1 + share) / len(labels)


def typical_length(seen: Survey, longest: int) -> int:
    """Return the tokens at which speed is measured: those of the median text, in steps of 8."""
    return min(longest, max(_SPAN, _SPAN * ceil(_typical_tokens(seen) / _SPAN)))


def _typical_tokens(seen: Survey) -> int:
    return seen.tokens.median if seen.tokens else _estimated(seen, seen.chars.median)


def _max_length(seen: Survey, base: Base) -> tuple[int, str]:
    limit = min(_MOST_READ, base.max_tokens or _MOST_READ)
    high = seen.tokens.high if seen.tokens else _estimated(seen, seen.chars.high)
    said = f"95 % of the texts have at most {high} tokens"
    if seen.tokens is None:
        said = f"95 % of the texts have at most {seen.chars.high} characters, some {high} tokens"
    length = min(limit, max(2 * _SPAN, _SPAN * ceil(high / _SPAN)))
    return length, f"{said}; the model reads {limit}" if high > limit else said


def _estimated(seen: Survey, chars: int) -> int:
    """Return about how many tokens so many characters are: four letters each, or one Chinese character."""
    return ceil(chars if seen.script in ("Chinese or Japanese", "Hangul") else chars / 4) + 2


def _rounded_up(fraction: float) -> float:
    return ceil(1000 * fraction) / 1000

"""From what was seen of the rows to the parameters that a new project chooses, each with its reason; pure.

``table_size`` names what a table is too small for; these rules choose so that it has nothing to name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from secateur.config.baseline import BaselineSection
from secateur.config.prune import DEFAULT_ROUNDS
from secateur.data.survey import First, Survey
from secateur.kinds.base import Kind
from secateur.scaffolding.gate_recipe import gate, retraining
from secateur.scaffolding.params_text import Choice
from secateur.scaffolding.parts import (
    MOST_TEST_ROWS,
    MOST_VALIDATION_ROWS,
    TEST_ROWS,
    TEST_SHARE,
    VALIDATION_ROWS,
    VALIDATION_SHARE,
    Parts,
    attacked,
    estimated_tokens,
    parts_of,
    told_apart,
    typical_length,
    typical_tokens,
)
from secateur.training.schedule import Length

_MOST_TOKENS, _FEWEST_CAPPED_ROWS = 6_000_000, 20_000
_MOST_READ, _SPAN = 512, 8
_WIDE = 768
_LONG, _ROWS_OF_LONG_TEXTS = 256, 8
"""Tokens of the median text, and rows per step where it has more: steps are what is learned by, and take four times as
long. 1 252 articles of some 420 tokens: macro-F1 0.967 after 471 steps of 8, in 27 minutes of processor time."""
_TELLING_ROWS = 10_000
"""Of 2 690 and 3 098 rows the gentlest cut of the vocabulary spells 3 and 4 % of the tokens of new texts in pieces."""


@dataclass(frozen=True)
class Base:
    """The model that the project starts from.

    Attributes:
        max_tokens: that it can read; None while it is on a hub.
        hidden_size: features of a token; None while it is on a hub.
    """

    max_tokens: int | None = None
    hidden_size: int | None = None


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


def choices(seen: Survey, *, base: Base, kind: Kind, first: First) -> tuple[Choice, ...]:
    """Choose what depends on the rows, in the order of params.yaml.

    Args:
        seen: the rows.
        base: the model.
        kind: of task that it will be for.
        first: what the rules of cleaning were chosen by.
    """
    parts = parts_of(seen)
    length, why = _max_length(seen, base)
    found = [
        *cleaning(first),
        *_split(seen, parts),
        *_training(seen, parts, base=base, length=length, why=why),
        *_pruning(seen, parts, length=length, kind=kind),
        *_evaluation(seen, parts, length=length, kind=kind),
        *gate(seen, parts, length=length, kind=kind),
        *retraining(seen),
    ]
    return tuple(found)


def unseen(kind: Kind, base: Base) -> tuple[Choice, ...]:
    """Choose for rows that are not here yet: what keeps few rows from being too few."""
    later = "the rows are not here yet"
    found = [
        Choice("clean.min_validation_rows", VALIDATION_ROWS, f"at least; {later}"),
        Choice("clean.min_test_rows", TEST_ROWS, "at least, of a fifth of the rows at most"),
        Choice("baseline.max_length", min(128, base.max_tokens or 128), f"tokens; {later}"),
        *_rate(base),
    ]
    if kind.full_precision:
        found += _full_precision()
    if not kind.is_attacked:
        found.append(Choice("evaluate.robustness.rows", 0, _no_attacks(kind)))
    if kind.route == "predict" and not kind.is_attacked:
        found.append(Choice("promote.robustness.rows", 0, "as evaluate.robustness.rows"))
    return tuple(found)


def _no_attacks(kind: Kind) -> str:
    return "attacks are scored by one label per text" if kind.route == "predict" else "attacks need labels"


def _full_precision() -> Iterator[Choice]:
    yield Choice("prune.latency.runtime", "torch", "where the times of single tokens are measured")
    for name in ("evaluate.deployed", "register.runtime"):
        yield Choice(name, "onnx", "a generator is deployed in full precision")
    yield Choice("evaluate.latency.runtimes", ["torch", "onnx"], "where a generator runs")


def _split(seen: Survey, parts: Parts) -> Iterator[Choice]:
    about = "about " if seen.is_estimate else ""
    if "validation" not in seen.given:
        if parts.validation_fraction != VALIDATION_SHARE:
            said = f"{MOST_VALIDATION_ROWS} of the {about}{seen.kept} rows after cleaning are enough to choose by"
            yield Choice("clean.validation_fraction", parts.validation_fraction, said)
        said = _of_a_fifth(parts.validation, wanted=VALIDATION_ROWS, seen=seen, what="choose between models")
        yield Choice("clean.min_validation_rows", VALIDATION_ROWS, said)
    if "test" not in seen.given:
        if parts.test_fraction != TEST_SHARE:
            yield Choice("clean.test_fraction", parts.test_fraction, f"{MOST_TEST_ROWS} rows are enough to judge by")
        said = _of_a_fifth(parts.test, wanted=parts.min_test_rows, seen=seen, what="judge them")
        yield Choice("clean.min_test_rows", parts.min_test_rows, said)
    cap = train_cap(seen)
    if cap < parts.train:
        said = f"of {seen.least}{parts.train} rows; null takes all of them, and longer than a night"
        yield Choice("clean.max_train_rows", cap, said)


def _of_a_fifth(rows: int, *, wanted: int, seen: Survey, what: str) -> str:
    """Say how many rows a part will have, and why where these are fewer than it wants."""
    about = "about " if seen.is_estimate else ""
    left = f"{about}{seen.kept} rows after cleaning"
    if rows >= wanted:
        return f"{seen.least}{rows} of the {left} {what}"
    return f"fewer here: a fifth of the {left} is {rows}"


def train_cap(seen: Survey) -> int:
    """Return how many training rows of this length a CPU learns from in hours rather than days."""
    length = min(_MOST_READ, typical_tokens(seen))
    return max(_FEWEST_CAPPED_ROWS, 1000 * (_MOST_TOKENS // length // 1000))


def _training(seen: Survey, parts: Parts, *, base: Base, length: int, why: str) -> Iterator[Choice]:
    train = min(parts.train, train_cap(seen))
    yield Choice("baseline.max_length", length, why)
    if _is_long(seen):
        said = f"per step instead of 32: half of the {seen.units} have {typical_tokens(seen)} tokens or more"
        yield Choice("baseline.batch_size", _ROWS_OF_LONG_TEXTS, said)
    yield Choice("baseline.epochs", "auto", _looks(seen, train))
    yield from _rate(base)


def _is_long(seen: Survey) -> bool:
    return typical_tokens(seen) > _LONG


def _rate(base: Base) -> Iterator[Choice]:
    if base.hidden_size is None or base.hidden_size >= _WIDE:
        size = "a model of the hub may have" if base.hidden_size is None else "the model has"
        many = _WIDE if base.hidden_size is None else base.hidden_size
        yield Choice("baseline.learning_rate", 5e-5, f"{size} {many} features; 1e-4 is for 384")


def _looks(seen: Survey, train: int) -> str:
    section = BaselineSection(batch_size=_ROWS_OF_LONG_TEXTS) if _is_long(seen) else BaselineSection()
    settings = section.settled(rows=train, labels=len(seen.labels), sets=seen.sets)
    length = Length.of(settings, steps_per_epoch=ceil(train / settings.batch_size))
    return f"{length.epochs:.3g} times through {seen.least}{train} rows, {length.steps} steps"


def _pruning(seen: Survey, parts: Parts, *, length: int, kind: Kind) -> Iterator[Choice]:
    if kind.route == "predict":
        drop = told_apart(parts.validation)
        few = f"a smaller loss of {kind.measure.title} is chance on {seen.least}{parts.validation} validation rows"
        said = few if drop > 0.02 else f"of {kind.measure.title} on validation, at most"
        yield Choice("prune.budget.max_drop", drop, said)
        if parts.train < _TELLING_ROWS:
            said = f"all words stay: {seen.least}{parts.train} training rows are too few to say which may go"
            yield Choice("prune.vocabulary_min_count", 0, said)
        yield from _rounds(seen, parts, kind=kind, max_drop=drop)
    if _is_long(seen):
        yield Choice("prune.recovery.batch_size", _ROWS_OF_LONG_TEXTS, "as baseline.batch_size")
    typical = typical_length(seen, length)
    if kind.full_precision:
        yield from _full_precision()
    half = f"half of the {seen.units} have {typical_tokens(seen)} or fewer"
    yield Choice("prune.latency.length", typical, f"tokens at which speed is measured: {half}")
    rows = min(1024 if len(seen.labels) > 8 else 512, parts.train)
    of = "all" if rows == parts.train and not seen.is_estimate else f"of {seen.least}{parts.train}"
    yield Choice("prune.calibration_rows", rows, f"{of} training rows, which show what a part of the model does")


def _rounds(seen: Survey, parts: Parts, *, kind: Kind, max_drop: float) -> Iterator[Choice]:
    """Write down the default rounds, so that one more is a line: whoever names one names all."""
    said = ("a quarter of max_drop, the surest", "half of it", "all of it: the fastest model that keeps the promise")
    for (name, entry), reason in zip(DEFAULT_ROUNDS.items(), said, strict=True):
        yield Choice(f"prune.rounds.{name}", entry.model_dump(exclude_defaults=True), reason)
    if kind.predicts_labels and seen.together is None and parts.train >= _TELLING_ROWS:
        student = {"prev": "baseline", "student": "static", "max_drop": round(2 * max_drop, 4), "deploy": False}
        yield Choice(f"prune.rounds.r{len(said) + 1}", student, "without layers: the end of the curve")


def _evaluation(seen: Survey, parts: Parts, *, length: int, kind: Kind) -> Iterator[Choice]:
    if kind.is_attacked:
        said = f"of {seen.least}{parts.test} test rows, attacked as well (typos, swapped words)"
        yield Choice("evaluate.robustness.rows", attacked(parts), said)
    else:
        yield Choice("evaluate.robustness.rows", 0, _no_attacks(kind))
    # What is written stands behind a beginning.
    longest = length if kind.route == "predict" else length - _SPAN
    yield Choice("evaluate.latency.length", typical_length(seen, longest), "as prune.latency.length")


def _max_length(seen: Survey, base: Base) -> tuple[int, str]:
    limit = min(_MOST_READ, base.max_tokens or _MOST_READ)
    chars = seen.read_chars.high
    high = seen.tokens.high if seen.tokens else estimated_tokens(seen, chars)
    said = f"95 % of the {seen.units} have at most {high} tokens"
    if seen.tokens is None:
        said = f"95 % of the {seen.units} have at most {chars} characters, some {high} tokens"
    length = min(limit, max(2 * _SPAN, _SPAN * ceil(high / _SPAN)))
    return length, f"{said}; the model reads {limit}" if high > limit else said

"""How many rows each part of a table will have, by the arithmetic of the stage ``clean``, and what they can tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from secateur.data.splits import apportion, raised_share
from secateur.data.survey import Survey
from secateur.statistics.margins import CHANGED_SHARE, effective_rows

VALIDATION_ROWS, MOST_VALIDATION_ROWS, VALIDATION_SHARE = 400, 1500, 0.07
TEST_ROWS, MOST_TEST_ROWS, TEST_SHARE = 500, 5000, 0.1
_TEST_ROWS_PER_LABEL = 20
_SPAN = 8
MARGIN = 0.8
"""Of the rows that are there now: the next table, or the rows that no model has learned from, may be a little fewer."""


@dataclass(frozen=True)
class Parts:
    """Rows of the parts as the stage ``clean`` will make them, and what params.yaml says to that end.

    ``telling`` are the balanced test rows that would tell as much of macro-F1.
    """

    validation: int
    test: int
    train: int
    rarest: int
    telling: float
    validation_fraction: float
    test_fraction: float
    min_test_rows: int


def parts_of(seen: Survey) -> Parts:
    """Divide the rows that cleaning leaves, by the arithmetic of the stage."""
    kept = seen.kept
    most = int(MARGIN * kept) if seen.is_estimate else kept
    wanted_test = min(MOST_TEST_ROWS, max(TEST_ROWS, _TEST_ROWS_PER_LABEL * len(seen.labels), int(TEST_SHARE * kept)))
    test_fraction = TEST_SHARE if TEST_SHARE * kept <= wanted_test else _rounded_up(wanted_test / kept)
    validation_fraction = (
        VALIDATION_SHARE
        if VALIDATION_SHARE * kept <= MOST_VALIDATION_ROWS
        else _rounded_up(MOST_VALIDATION_ROWS / kept)
    )
    min_test = max(TEST_ROWS, min(1000, _TEST_ROWS_PER_LABEL * len(seen.labels)))
    of_labels = np.array([int(most / max(kept, 1) * count) for count in seen.labels.values()] or [most], np.int64)
    counts = np.array([most], np.int64) if seen.sets else of_labels
    total = int(counts.sum())
    of_validation = _share(counts, validation_fraction, min_rows=VALIDATION_ROWS)
    of_test = _share(counts, test_fraction, min_rows=min_test)
    learned = total
    if given := seen.given.get("validation"):
        of_validation = _given(given, seen)
    else:
        learned -= int(of_validation.sum())
    if given := seen.given.get("test"):
        of_test = _given(given, seen)
    else:
        learned -= int(of_test.sum())
    telling = of_test
    if seen.sets:  # a part has about its share of each label
        telling = np.maximum(1, of_labels * int(of_test.sum()) // max(most, 1))
    return Parts(
        validation=min(int(of_validation.sum()), MOST_VALIDATION_ROWS),
        test=int(of_test.sum()),
        train=max(1, learned),
        rarest=int(telling.min()),
        telling=effective_rows(telling.tolist(), rows=int(of_test.sum())),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        min_test_rows=min_test,
    )


def _given(rows: Mapping[str, int], seen: Survey) -> NDArray[np.int64]:
    return np.array([rows.get(name, 0) for name in (seen.labels if seen.labels and not seen.sets else ("",))], np.int64)


def _share(counts: NDArray[np.int64], fraction: float, *, min_rows: int) -> NDArray[np.int64]:
    """Return the rows of each label that a part gets, as the stage ``clean`` apportions them."""
    total = int(counts.sum())
    return apportion(round(raised_share(fraction, min_rows=min_rows, num_rows=total) * total), counts)


def told_apart(rows: int) -> float:
    """Return the smallest promise, in hundredths and from 0.02, that so many validation rows can tell from chance."""
    return min(1.0, max(0.02, ceil(100 * sqrt(CHANGED_SHARE / max(rows, 1))) / 100))


def attacked(parts: Parts) -> int:
    """Return how many test rows are attacked."""
    return max(1, min(256, int(MARGIN * parts.test)))


def typical_length(seen: Survey, longest: int) -> int:
    """Return the tokens at which speed is measured: those of the median text, in steps of 8."""
    return min(longest, max(_SPAN, _SPAN * ceil(typical_tokens(seen) / _SPAN)))


def typical_tokens(seen: Survey) -> int:
    """Return the tokens of the median text or pair, or about so many."""
    return seen.tokens.median if seen.tokens else estimated_tokens(seen, seen.read_chars.median)


def estimated_tokens(seen: Survey, chars: int) -> int:
    """Return about how many tokens so many characters are: four letters each, or one Chinese character."""
    return ceil(chars if seen.script in ("Chinese or Japanese", "Hangul") else chars / 4) + 2


def _rounded_up(fraction: float) -> float:
    return ceil(1000 * fraction) / 1000

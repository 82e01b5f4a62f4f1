"""Stratified train, validation and test rows, by exact counts instead of by chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row indices of each part, ascending; no row is in two parts."""

    train: Rows
    validation: Rows
    test: Rows


def apportion(total: int, counts: Rows) -> Rows:
    """Divide ``total`` among classes in proportion to ``counts``, at least 1 and at most all of a class.

    Largest remainders (Hamilton); between equal remainders the first class wins. The sum is ``total``, unless the
    bounds do not allow it.
    """
    exact = counts * (min(total, int(counts.sum())) / max(1, int(counts.sum())))
    quota: Rows = np.clip(np.floor(exact).astype(np.int64), np.minimum(1, counts), counts)
    while (missing := total - int(quota.sum())) != 0:
        allowed = quota < counts if missing > 0 else quota > 1
        if not allowed.any():
            break
        # The class that is furthest from its exact share, on the side that helps.
        distance = np.where(allowed, (exact - quota) * np.sign(missing), -np.inf)
        quota[int(np.argmax(distance))] += np.sign(missing)
    return quota


def split_rows(labels: Rows, *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Divide rows into three parts, each with every label in its share.

    Args:
        labels: label index of each row, N of them.
        validation_fraction: share of the rows, in (0, 1).
        test_fraction: share of the rows, in (0, 1).
        seed: of the draw; the same seed and labels give the same split.

    Raises:
        DataError: a label has fewer than three rows, or the fractions leave a label without training rows.
    """
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    if counts[present].min(initial=3) < 3:
        raise DataError("a label has fewer than 3 rows; train, validation and test need one each")
    num_test = apportion(round(test_fraction * len(labels)), counts)
    num_validation = apportion(round(validation_fraction * len(labels)), counts)
    generator = np.random.default_rng([seed, 0])
    parts: tuple[list[Rows], list[Rows], list[Rows]] = ([], [], [])
    for label in present:
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        test_end = int(num_test[label])
        validation_end = test_end + int(num_validation[label])
        if validation_end >= len(shuffled):
            raise DataError(
                f"clean.validation_fraction and clean.test_fraction take all {len(shuffled)} rows of a label; "
                "lower them"
            )
        parts[0].append(shuffled[validation_end:])
        parts[1].append(shuffled[test_end:validation_end])
        parts[2].append(shuffled[:test_end])
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return Split(train, validation, test)


def cap_rows(rows: Rows, labels: Rows, *, max_rows: int | None, seed: int) -> Rows:
    """Keep at most ``max_rows`` of ``rows``, with the shares of the labels; ascending.

    ``labels`` holds the label index of every row of the data, not only of ``rows``.
    """
    if max_rows is None or len(rows) <= max_rows:
        return rows
    of_rows = labels[rows]
    quota = apportion(max_rows, np.bincount(of_rows))
    generator = np.random.default_rng([seed, 1])
    kept = [generator.permutation(rows[of_rows == label])[:take] for label, take in enumerate(quota) if take]
    return np.sort(np.concatenate(kept))

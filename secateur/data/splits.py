"""Stratified train, validation and test rows, by exact counts instead of by chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.data.copies import rows_of_several
from secateur.errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row indices of each part, ascending; no row is in two parts.

    Attributes:
        spread: rows of groups that fitted into no part, and stand in several.
        left_out: rows that stand in no part.
        starts: the first time of each part that judges, where rows were divided by time.
    """

    train: Rows
    validation: Rows
    test: Rows
    spread: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    left_out: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    starts: Mapping[str, str] = field(default_factory=dict)


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


_LARGEST_RAISED_SHARE = 0.2


def raised_share(fraction: float, *, min_rows: int, num_rows: int) -> float:
    """Return the share that gives a part ``min_rows`` of the rows, where ``fraction`` gives it fewer.

    A part is raised to a fifth of the rows at most: rows that judge are rows that nobody learns from.
    """
    return max(fraction, min(min_rows / max(num_rows, 1), _LARGEST_RAISED_SHARE))


def split_rows(
    labels: Rows, *, validation_fraction: float, test_fraction: float, seed: int, groups: Rows | None = None
) -> Split:
    """Divide rows into three parts, each with every label in its share.

    Args:
        labels: label index of each row, N of them.
        validation_fraction: share of the rows, in [0, 1); 0 where other rows validate.
        test_fraction: share of the rows, in [0, 1); 0 where other rows test.
        seed: of the draw; the same seed, labels and groups give the same split.
        groups: number of each row's group, N of them; rows of one group go into one part, unless there are more of
            them than the share of a label has room for. None puts each row into a group of its own.

    Raises:
        DataError: a label has fewer rows than there are parts, or the fractions leave a label without training rows.
    """
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    asked = [name for name, share in (("validation", validation_fraction), ("test", test_fraction)) if share]
    if counts[present].min(initial=3) <= len(asked):
        raise DataError(
            f"a label has fewer than {len(asked) + 1} rows; {' and '.join(['train', *asked])} need one each"
        )
    num_validation, num_test = (
        apportion(round(share * len(labels)), counts) if share else np.zeros_like(counts)
        for share in (validation_fraction, test_fraction)
    )
    room = np.stack([counts - num_validation - num_test, num_validation, num_test])
    if (short := np.flatnonzero((room[0] <= 0) & (counts > 0))).size:
        raise DataError(
            f"clean.validation_fraction and clean.test_fraction take all {counts[short[0]]} rows of a label; lower them"
        )
    part, spread = _place_groups(labels, groups, room, seed=seed)
    generator = np.random.default_rng([seed, 0])
    for label in present:
        free = generator.permutation(np.flatnonzero((labels == label) & (part < 0)))
        test_end, validation_end = room[2, label], room[2, label] + room[1, label]
        part[free] = 0
        part[free[:validation_end]] = 1
        part[free[:test_end]] = 2
    train, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return Split(train, validation, test, spread)


def _place_groups(labels: Rows, groups: Rows | None, room: Rows, *, seed: int) -> tuple[Rows, Rows]:
    """Draw a part for every group of several rows, and take its rows off ``room`` (changed in place).

    Args:
        labels: label index of each row.
        groups: number of each row's group.
        room: rows that each part still takes of each label, (3, labels).
        seed: of the draw.

    Returns:
        The part of each row, -1 where it is open; and the rows of groups that no part has room for.
    """
    part = np.full(len(labels), -1, np.int64)
    if groups is None:
        return part, np.zeros(0, np.int64)
    members = list(rows_of_several(groups))
    generator = np.random.default_rng([seed, 2])
    spread: list[Rows] = []
    for index in generator.permutation(len(members)):
        rows = members[index]
        present, counts = np.unique(labels[rows], return_counts=True)
        fits = (room[:, present] >= counts).all(axis=1)
        if not fits.any():
            spread.append(rows)
            continue
        # A part takes groups in proportion to the rows that it still wants.
        wanted = np.cumsum(np.where(fits, room.sum(axis=1), 0))
        chosen = int(np.searchsorted(wanted, generator.random() * wanted[-1], side="right"))
        part[rows] = chosen
        room[chosen, present] -= counts
    return part, np.sort(np.concatenate(spread)) if spread else np.zeros(0, np.int64)


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

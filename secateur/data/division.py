"""Which rows train, validate and test: by exact shares, by time, by the source's groups, or by what each text says."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.data.cleaning import Cleaned
from secateur.data.splits import Split, raised_share, split_rows
from secateur.data.time_split import NOWHERE, by_time, require_different
from secateur.errors import DataError
from secateur.sources.source_files import PARTS

Indices = NDArray[np.int64]
_TIME = "ingest.time_column"
_MAX_NAMED = 5


def divided(
    cleaned: Cleaned, strata: Indices, *, given: Set[str], clean: CleanSection, seed: int, names: Sequence[str] = ()
) -> Split:
    """Divide cleaned rows into three parts; one that was given gets none.

    Args:
        cleaned: the rows, N of them.
        strata: what every part should have its share of, (N,).
        given: parts whose rows were given.
        clean: how, and the shares.
        seed: of the choice.
        names: of the strata, where these are labels.

    Raises:
        DataError: a part, or the training rows of a label, would stay empty.
    """
    validation = 0.0 if "validation" in given else clean.validation_fraction
    test = 0.0 if "test" in given else clean.test_fraction
    if clean.split_by == "content":
        shares = np.array([1 - validation - test, validation, test])
        part = by_content(_keys(cleaned), shares, seed=seed)
        return _as_split(part, strata, cleaned.alike, shares=shares, said="clean.split_by=content", names=names)
    if validation:
        validation = raised_share(validation, min_rows=clean.min_validation_rows, num_rows=len(strata))
    if test:
        test = raised_share(test, min_rows=clean.min_test_rows, num_rows=len(strata))
    shares = np.array([1 - validation - test, validation, test])
    if cleaned.times is not None and validation + test > 0:
        found = by_time(cleaned.times, shares, groups=cleaned.groups)
        split = _as_split(found.part, strata, cleaned.alike, shares=shares, said=_TIME, names=names)
        return replace(split, starts=found.starts)
    if cleaned.groups is not None:
        part = by_group(_numbered(cleaned.groups), strata, shares, seed=seed)
        return _as_split(part, strata, cleaned.alike, shares=shares, said="ingest.group_column", names=names)
    return split_rows(strata, validation_fraction=validation, test_fraction=test, seed=seed, groups=cleaned.alike)


def by_content(keys: Iterable[str], shares: NDArray[np.float64], *, seed: int) -> Indices:
    """Return the part of each row by the digest of its key alone, so that no other row can move it.

    Args:
        keys: of the rows.
        shares: of the parts; they add up to 1, and the rows meet them on average.
        seed: another one, other parts.
    """
    ends = np.cumsum(shares[::-1])[:-1]

    def place(key: str) -> float:
        digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    places = np.fromiter(map(place, keys), np.float64)
    return (len(shares) - 1 - np.searchsorted(ends, places, side="right")).astype(np.int64)


def by_group(groups: Indices, strata: Indices, shares: NDArray[np.float64], *, seed: int) -> Indices:
    """Return the part of each row, the same for all rows of a group.

    Groups are drawn one after the other; each goes where the rows of its labels are missed most, by the squared
    distance from the shares, and the last ones into parts that would stay empty.

    Args:
        groups: number of each row's group, N of them, from 0.
        strata: label index of each row, (N,).
        shares: of the parts; a part whose share is 0 gets none.
        seed: of the draw.

    Raises:
        DataError: there are fewer groups than parts.
    """
    wanted = np.flatnonzero(shares)
    num_groups = int(groups.max(initial=-1)) + 1
    require_different(num_groups, parts=len(wanted), column="ingest.group_column")
    table = np.zeros((num_groups, int(strata.max(initial=0)) + 1), np.int64)
    np.add.at(table, (groups, strata), 1)
    missing = shares[:, None] * table.sum(axis=0)
    part_of = np.zeros(num_groups, np.int64)
    empty: set[int] = set(wanted.tolist())
    order = np.random.default_rng([seed, 3]).permutation(num_groups)
    for position, group in enumerate(order):
        rows = table[group]
        open_parts: list[int] = sorted(empty) if num_groups - position <= len(empty) else wanted.tolist()
        chosen = min(open_parts, key=lambda part: float((rows * (rows - 2 * missing[part])).sum()))
        part_of[group] = chosen
        missing[chosen] -= rows
        empty.discard(chosen)
    return part_of[groups]


def spread_over_parts(part: Indices, alike: Indices) -> Indices:
    """Return the rows that say nearly what a row of another part says, ascending; those in no part do not count."""
    numbers = np.unique(alike, return_inverse=True)[1]
    low = np.full(numbers.max(initial=-1) + 1, len(PARTS))
    high = np.full_like(low, NOWHERE)
    stands = part != NOWHERE
    np.minimum.at(low, numbers[stands], part[stands])
    np.maximum.at(high, numbers[stands], part[stands])
    return np.flatnonzero((low < high)[numbers] & stands)


def _keys(cleaned: Cleaned) -> Iterator[str]:
    groups = cleaned.groups or [None] * len(cleaned.texts)
    for text, group in zip(cleaned.texts, groups, strict=True):
        yield f"text {text.casefold()}" if group is None else f"group {group}"


def _numbered(groups: Sequence[str | None]) -> Indices:
    """Return a number for each group, from 0; a row without a group is one by itself."""
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(i if group is None else group, len(numbers)) for i, group in enumerate(groups)])


def _as_split(
    part: Indices, strata: Indices, alike: Indices, *, shares: NDArray[np.float64], said: str, names: Sequence[str]
) -> Split:
    rows = [np.flatnonzero(part == number) for number in range(len(PARTS))]
    for name, share, found in zip(PARTS, shares, rows, strict=True):
        if share and len(found) == 0:
            raise DataError(f"{said} leaves no row for {name}: {len(part)} rows are too few, or its share is too small")
    if missing := set(strata.tolist()) - set(strata[rows[0]].tolist()):
        named = ", ".join(repr(names[number]) for number in sorted(missing)[:_MAX_NAMED]) if names else ""
        which = f"the label{'' if len(missing) == 1 else 's'} {named}" if named else f"{len(missing)} label(s)"
        more = f" and {len(missing) - _MAX_NAMED} more" if named and len(missing) > _MAX_NAMED else ""
        raise DataError(
            f"{said} leaves no training row of {which}{more}: there are too few rows of it, or all are of "
            f"{'the times' if said == _TIME else 'groups'} that judge"
        )
    train, validation, test = rows
    left_out = np.flatnonzero(part == NOWHERE)
    return Split(train, validation, test, spread=spread_over_parts(part, alike), left_out=left_out)

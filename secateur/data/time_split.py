"""Which rows train, validate and test by when they were written: those that judge are later than what is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateur.errors import DataError
from secateur.readers.times import shown
from secateur.sources.source_files import PARTS

Indices = NDArray[np.int64]
NOWHERE = -1
"""The part of a row that is left out."""


@dataclass(frozen=True)
class TimeParts:
    """The part of every row, (N,), ``NOWHERE`` for those that are left out; and the first time of each that judges."""

    part: Indices
    starts: Mapping[str, str]


def by_time(times: pa.ChunkedArray, shares: NDArray[np.float64], *, groups: Sequence[str | None] | None) -> TimeParts:
    """Divide rows where the share of the latest ones comes nearest to what is asked; rows of one time stay together.

    Rows of a group that also stands in a later part are left out, as those of groups that were given to judge are: what
    is learned of an author must not be judged by the same author's later rows.

    Args:
        times: of the rows, N of them, none missing; any type that has an order.
        shares: of the parts; they add up to 1, and a part whose share is 0 gets none.
        groups: of the rows' authors or threads; None where there are none, also in it.

    Raises:
        DataError: there are fewer different times than parts, or groups take all rows of a part.
    """
    distinct = pc.unique(times).sort()
    place: Indices = pc.index_in(times, distinct).to_numpy().astype(np.int64)
    wanted = np.flatnonzero(shares)
    require_different(len(distinct), parts=len(wanted), column="ingest.time_column")
    starts = first_places(np.bincount(place), shares)
    part = np.zeros(len(place), np.int64)
    for number, start in sorted(starts.items()):
        part[place >= start] = number
    part = part if groups is None else without_later_groups(part, groups)
    if empty := [PARTS[number] for number in wanted if not (part == number).any()]:
        raise DataError(
            f"ingest.time_column and ingest.group_column leave no row for {empty[0]}: all of its groups stand in later "
            "rows, too; leave one of the two columns out"
        )
    return TimeParts(part, {PARTS[number]: shown(distinct[start].as_py()) for number, start in sorted(starts.items())})


def require_different(values: int, *, parts: int, column: str) -> None:
    """Refuse a column by which rows cannot be divided.

    Args:
        values: different ones that the rows have.
        parts: that need one each.
        column: the parameter that names it.

    Raises:
        DataError: there are too few.
    """
    if values < parts:
        have = "1 value" if values == 1 else f"{values} different values"
        raise DataError(f"{column} has {have} after cleaning; {parts} parts need one each")


def first_places(counts: Indices, shares: NDArray[np.float64]) -> dict[int, int]:
    """Return for each part that judges the place of its first time; it ends where the next part begins.

    The last part is chosen first. Between two places that are equally near to the share the earlier one wins, which
    gives the part more rows.

    Args:
        counts: rows of each time, the earliest first; at least as many times as parts.
        shares: of train and of the parts that judge.
    """
    judging = [number for number in range(len(shares) - 1, 0, -1) if shares[number]]
    found: dict[int, int] = {}
    end, total = len(counts), int(counts.sum())
    for position, number in enumerate(judging):
        places = np.arange(len(judging) - position, end)  # every earlier part needs a time of its own
        rows = np.cumsum(counts[:end][::-1])[::-1][places]
        end = int(places[np.argmin(np.abs(rows - shares[number] * total))])
        found[number] = end
    return found


def without_later_groups(part: Indices, groups: Sequence[str | None]) -> Indices:
    """Return the parts with ``NOWHERE`` for the rows of groups that also stand in a later one."""
    last: dict[str, int] = {}
    for number, group in zip(part.tolist(), groups, strict=True):
        if group is not None:
            last[group] = max(number, last.get(group, number))
    kept = [
        number if group is None or last[group] == number else NOWHERE
        for number, group in zip(part.tolist(), groups, strict=True)
    ]
    return np.array(kept, np.int64)


def remarks_on_time(
    column: str | None, starts: Mapping[str, str], *, rows: Mapping[str, int], left_out: int
) -> list[str]:
    """Say where the parts begin, and what groups have cost.

    Args:
        column: of the times; None where there is none.
        starts: as ``TimeParts`` has them; none where rows that judge were given.
        rows: of each part.
        left_out: rows of groups that also stand in later parts.
    """
    if column is None:
        return []
    if not starts:
        return [f"ingest.time_column={column} divides nothing: the rows that judge were given"]
    does = {"validation": "validate", "test": "test"}
    said = ", ".join(f"{rows[part]} from {start} on {does[part]}" for part, start in starts.items())
    first = next(iter(starts.values()))
    remarks = [f"by ingest.time_column={column} {rows['train']} rows before {first} train, {said}"]
    if left_out:
        which = "1 row is of a group that stands" if left_out == 1 else f"{left_out} rows are of groups that stand"
        remarks.append(f"{which} in a later part, too: left out, so that nothing is learned of those that judge")
    return remarks

"""When the rows of a table were written: numbers, dates or times of a column, as values that can be put in order."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from secateur.errors import DataError

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_INT64 = 1 << 63
_EARLY_S, _LATE_S = 631_152_000, 2_524_608_000  # 1990 to 2050
_ISO = "2024-03-31, 2024-03-31T18:00:00Z"
_NUMBERS, _LOCAL, _ANCHORED = "numbers", "times without an offset from UTC", "times with an offset from UTC"

Moment = int | float | datetime


def times_of(values: Sequence[Any] | pa.ChunkedArray, *, name: str, file: str, time_format: str | None) -> pa.Array:
    """Return when each row was written, as a column that can be ordered; what is empty becomes null.

    Numbers are whole or not (years, seconds since 1970, numbers of tickets). Dates and times are those of ISO 8601 or,
    where one is given, of a format; a date is its midnight, and a month its first day.

    Args:
        values: one per row.
        name: of their column, for messages.
        file: that they stand in, for messages.
        time_format: of the texts, by the letters of ``strptime``; None for ISO 8601 and numbers.

    Returns:
        Timestamps in microseconds, of UTC where the source says an offset; or whole numbers, or floats.

    Raises:
        DataError: a value is no time, or some cannot be put in order with others; the row is named, from 1.
    """
    if isinstance(values, pa.ChunkedArray):
        if (typed := _typed(values, has_format=time_format is not None)) is not None:
            return typed
        values = values.to_pylist()
    read = _reader(time_format)
    moments: list[Moment | None] = []
    bad: list[int] = []
    for row, value in enumerate(values):
        try:
            moments.append(read(value))
        except (ValueError, OverflowError):
            moments.append(None)
            bad.append(row)
    where = _Where(name, file, values)
    if bad:
        others = f" (and {len(bad) - 1} more like it)" if len(bad) > 1 else ""
        unread = (
            f"no number and no date of ISO 8601 ({_ISO}); ingest.time_format=%d/%m/%Y reads 31/03/2024"
            if time_format is None
            else f"not what ingest.time_format={time_format} reads"
        )
        raise DataError(f"{where.said(bad[0])}{others}, which is {unread}")
    return _ordered(moments, where)


def kind_of(values: pa.DataType) -> str | None:
    """Return in which order values of a type stand, in words; None of a column that holds nothing."""
    if pa.types.is_null(values):
        return None
    if pa.types.is_timestamp(values):
        return _ANCHORED if values.tz else _LOCAL
    return _NUMBERS


def shown(moment: Moment) -> str:
    """Write a value as people read it: a midnight as its date, a number that may count from 1970 with its day."""
    if not isinstance(moment, datetime):
        return str(moment) + _since_1970(moment)
    if moment.time() == time():
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")


def _since_1970(number: float) -> str:
    """Return the day that a number is if it counts seconds or milliseconds; nothing of one far from this time."""
    for unit, seconds in (("seconds", number), ("milliseconds", number / 1000)):
        if _EARLY_S <= seconds < _LATE_S:
            return f" ({datetime.fromtimestamp(seconds, UTC).date()} if it counts {unit} since 1970)"
    return ""


@dataclass(frozen=True)
class _Where:
    """What a message says of a row."""

    name: str
    file: str
    values: Sequence[Any]

    def said(self, row: int) -> str:
        """Name a row and what it holds."""
        value = str(self.values[row])
        value = value if len(value) <= 40 else value[:37] + "..."
        return f"{self.file}, row {row + 1} of {len(self.values)}: time column {self.name!r} holds {value!r}"


def _typed(values: pa.ChunkedArray, *, has_format: bool) -> pa.Array | None:
    """Return a column whose type says that it holds times or numbers; None of one whose values have to be read."""
    kind = values.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        zone = "UTC" if pa.types.is_timestamp(kind) and kind.tz else None
        return _whole(values.cast(pa.timestamp("us", tz=zone), safe=False))
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind) and not has_format:
        return _whole(values.cast(pa.int64()))
    return None


def _whole(values: pa.ChunkedArray) -> pa.Array:
    combined = values.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _reader(time_format: str | None) -> Callable[[Any], Moment | None]:
    """Return what reads one value; each text is read once."""
    known: dict[str, Moment | None] = {}

    def read(value: Any) -> Moment | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if time_format is not None and not isinstance(value, date):
            value = str(int(value) if isinstance(value, float) and value.is_integer() else value)
        if not isinstance(value, str):
            return _moment(value)
        if value not in known:
            known[value] = _of_text(value.strip(), time_format)
        return known[value]

    return read


def _of_text(text: str, time_format: str | None) -> Moment | None:
    if not text:
        return None
    if time_format is not None:
        return datetime.strptime(text, time_format)
    if _NUMBER.fullmatch(text):
        return _moment(float(text) if set(text) & set(".eE") else int(text))
    return datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)


def _moment(value: Any) -> Moment:
    """Return a value that is a time or a number.

    Raises:
        ValueError: it is neither, or has no bounds.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise ValueError("neither a time nor a number")
    return value if not isinstance(value, int) or -_INT64 <= value < _INT64 else float(value)


def _ordered(moments: Sequence[Moment | None], where: _Where) -> pa.Array:
    """Return moments as one column.

    Raises:
        DataError: they are of two kinds, between which there is no order.
    """
    first: dict[str, int] = {}
    for row, moment in enumerate(moments):
        if moment is not None:
            kind = _NUMBERS if not isinstance(moment, datetime) else _LOCAL if moment.tzinfo is None else _ANCHORED
            first.setdefault(kind, row)
    if len(first) > 1:
        (one, at_one), (other, at_other) = sorted(first.items(), key=lambda entry: entry[1])[:2]
        raise DataError(
            f"{where.said(at_other)} and row {at_one + 1} {str(where.values[at_one])!r}: {other} and {one} have no "
            "order; write all of them in one way"
        )
    only = next(iter(first), None)
    if only is None:
        return pa.nulls(len(moments))
    if only == _NUMBERS:
        whole = all(moment is None or isinstance(moment, int) for moment in moments)
        return pa.array(moments if whole else [m if m is None else float(m) for m in moments])  # type: ignore[arg-type]
    return pa.array(moments, pa.timestamp("us", tz="UTC" if only == _ANCHORED else None))


def require_one_kind(files: Sequence[tuple[str, pa.Table]], *, name: str) -> None:
    """Check that the times of several files can be put in one order.

    Args:
        files: name of each, and its rows with the column ``time``.
        name: of the column in the source, for messages.

    Raises:
        DataError: naming two files that cannot.
    """
    kinds: dict[str, str] = {}
    for file, rows in files:
        kind = kind_of(rows.schema.field("time").type)
        if kind is not None:
            kinds.setdefault(kind, file)
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise DataError(
            f"ingest.time_column={name} holds {one} in {first} and {other} in {second}, which have no order; write all "
            "of them in one way"
        )

from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from secateur.errors import DataError
from secateur.readers.times import require_one_kind, shown, times_of


def read(values, time_format=None):
    return times_of(values, name="when", file="a.csv", time_format=time_format)


@pytest.mark.parametrize(
    ("values", "order", "kind"),
    [
        (["2024-03-01", "2024-02", "2024-02-15T10:00", "", None], [1, 2, 0], pa.timestamp("us")),
        (["2024-03-01T00:30+02:00", "2024-02-29T23:00Z"], [0, 1], pa.timestamp("us", "UTC")),
        (["10", "9", " 007 ", None], [2, 1, 0], pa.int64()),
        ([2.5, 1, float("nan"), 1e300], [1, 0, 3], pa.float64()),
        ([date(2024, 3, 1), datetime(2024, 2, 1, 5)], [1, 0], pa.timestamp("us")),
        (pa.chunked_array([pa.array([3, None, 1], pa.int16())]), [2, 0], pa.int64()),
        (pa.chunked_array([pa.array([3, 1], pa.timestamp("ns", "+05:00"))]), [0, 1], pa.timestamp("us", "UTC")),
        (pa.chunked_array([pa.array([20, 1], pa.date32())]), [1, 0], pa.timestamp("us")),
        (pa.chunked_array([pa.array(["b", None])[1:]]), [], pa.null()),
    ],
)
def test_what_can_be_put_in_order_is(values, order, kind):
    found = read(values)
    assert found.type == kind and len(found) == len(values)
    held = {row: value.as_py() for row, value in enumerate(found) if value.is_valid}
    assert sorted(held, key=held.get) == order


def test_a_format_reads_what_iso_does_not():
    found = read(["31/12/2023", "1/2/2024", None], "%d/%m/%Y").to_pylist()
    assert found == [datetime(2023, 12, 31), datetime(2024, 2, 1), None]
    assert read(pa.chunked_array([[20240201, 20231231]]), "%Y%m%d").to_pylist()[1] == datetime(2023, 12, 31)
    east = timezone(timedelta(hours=9))
    assert read(["1 Jan 2024 00:00 +0900"], "%d %b %Y %H:%M %z")[0].as_py() == datetime(2024, 1, 1, tzinfo=east)


@pytest.mark.parametrize(
    ("values", "time_format", "message"),
    [
        (["2024-01-01", "31/12/2023", "x"], None, r"a.csv, row 2 of 3: time column 'when' holds '31/12/2023' \(and 1"),
        (["2024-01-01", "tomorrow"], None, r"row 2 of 2.* which is no number and no date of ISO 8601 \(2024-03-31, "),
        (["31/12/2023", "12/31/2023"], "%d/%m/%Y", r"row 2 of 2: .* which is not what ingest.time_format=%d/%m/%Y r"),
        ([True], None, "row 1 of 1: time column 'when' holds 'True', which is no number"),
        ([float("inf")], None, "holds 'inf', which is no number"),
        (["2024-01-01", "7"], None, "row 2 of 2: time column 'when' holds '7' and row 1 '2024-01-01': numbers and "),
        (["2024-01-01T00:00", "2024-01-01T00:00Z"], None, "times with an offset from UTC and times without an offset"),
    ],
)  # fmt: skip
def test_what_has_no_order_is_named_by_its_row(values, time_format, message):
    with pytest.raises(DataError, match=message):
        read(values, time_format)


def test_files_must_say_time_in_one_way():
    one, other = (pa.table({"time": read(values)}) for values in (["2024-01-01"], [7]))
    with pytest.raises(DataError, match=r"=when holds times without an offset from UTC in a\.csv and numbers"):
        require_one_kind([("a.csv", one), ("b.csv", other)], name="when")
    require_one_kind([("a.csv", one), ("b.csv", pa.table({"time": read([None])}))], name="when")


def test_a_midnight_is_shown_as_its_date():
    assert [shown(datetime(2024, 1, 2)), shown(datetime(2024, 1, 2, 3, tzinfo=UTC)), shown(7)] == [
        "2024-01-02",
        "2024-01-02T03:00:00Z",
        "7",
    ]
    assert shown(1_700_000_000_000) == "1700000000000 (2023-11-14 if it counts milliseconds since 1970)"
    assert shown(1_700_000_000.5) == "1700000000.5 (2023-11-14 if it counts seconds since 1970)"

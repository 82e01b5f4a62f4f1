"""A slice of ``python -m tests.fuzz_readers``, and that it would find what it looks for."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.acquisition import check_rows
from secateur.errors import DataError
from secateur.readers import delimited, tables
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading
from secateur.readers.row_files import open_rows
from tests.fuzz_readers import case, run


def test_files_as_written_give_their_rows_and_damaged_ones_rows_or_one_line() -> None:
    counts, findings = run(list(range(240)), seed=0)
    assert not findings, findings[:3]
    assert set(counts) == {f"{kind}: {end}" for kind in ("as written", "damaged") for end in ("rows", "one line")} or (
        set(counts) == {"as written: rows", "damaged: rows", "damaged: one line"}
    )


def test_an_input_is_known_by_its_number() -> None:
    assert case(3, 17) == case(3, 17) != case(4, 17)


def test_a_column_of_parquet_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    """Found at input 17929 of seed 16."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["good", "bad"], "label": ["a", "b"], "more": [1, 2]}), path)
    reading = Reading(columns=Columns("text", "label", None))
    for name in (b"more", b"text"):
        path.write_bytes(path.read_bytes().replace(name, b"\xff\xfe\xff\xff"))
        for read in (lambda: check_rows(str(path), reading, min_labels=0), lambda: open_rows(str(path), reading)):
            with pytest.raises(DataError, match="is not a Parquet file"):
                read()


def test_a_message_is_one_line_that_moves_no_terminal() -> None:
    assert str(DataError("rows.pq:\x1b[31m\nnot \u202eParquet é 中")) == r"rows.pq:\x1b[31m not \u202eParquet é 中"


def test_a_row_too_few_another_error_and_a_file_that_stays_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = [number for number in range(60) if case(0, number)[0].name == "rows.csv"]

    def lossy(path: Path, **options: object) -> object:
        found = delimited.read_delimited(path, **options)  # type: ignore[arg-type]
        return delimited.Found(found.rows.slice(0, max(1, found.rows.num_rows - 1)))

    def broken(*_: object, **__: object) -> None:
        raise KeyError("text")

    def writing(path: Path, **options: object) -> object:
        (path.parent / "left.tmp").touch()
        return delimited.read_delimited(path, **options)  # type: ignore[arg-type]

    for bad, what in ((lossy, "expected"), (broken, "KeyError"), (writing, "left left.tmp")):
        monkeypatch.setattr(tables, "read_delimited", bad)
        _, findings = run(numbers, seed=0)
        assert any(what in finding.what for finding in findings), bad

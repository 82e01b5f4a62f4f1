"""A slice of ``python -m tests.fuzz_readers``, and that it would find what it looks for."""

from pathlib import Path

import pytest

from secateur.errors import DataError
from secateur.readers import delimited, tables
from tests.fuzz_readers import case, run


def test_files_as_written_give_their_rows_and_damaged_ones_rows_or_one_line() -> None:
    counts, findings = run(list(range(240)), seed=0)
    assert not findings, findings[:3]
    assert set(counts) == {f"{kind}: {end}" for kind in ("as written", "damaged") for end in ("rows", "one line")} or (
        set(counts) == {"as written: rows", "damaged: rows", "damaged: one line"}
    )


def test_an_input_is_known_by_its_number() -> None:
    assert case(3, 17) == case(3, 17) != case(4, 17)


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

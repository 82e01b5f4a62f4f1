"""A slice of ``python -m tests.fuzz_files``, and that it would find what it looks for."""

from pathlib import Path

import pytest

from tests import fuzz_files
from tests.fuzz_files import Subject, run


def test_damaged_files_and_rows_are_read_or_told_in_a_line() -> None:
    counts, findings = run(list(range(90)), seed=0)
    assert not findings, findings[:3]
    assert {name.partition(":")[2] for name in counts} == {" read", " one line"}
    assert len({name.partition(":")[0] for name in counts}) == 11


def test_another_error_a_written_file_and_one_that_does_not_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise KeyError("text")

    def writing(path: Path) -> None:
        (path.parent / "left").touch()

    def endless(_: Path) -> None:
        while True:
            pass

    for read, what in ((broken, "KeyError"), (writing, "written or changed"), (endless, "no end within")):
        monkeypatch.setattr(fuzz_files, "subjects", lambda read=read: (Subject("one", b"{}", read),))
        _, [finding] = run([1], seed=0, patience_s=0.2)
        assert what in finding.what

"""Files are the old ones or the new ones."""

import errno
from pathlib import Path

import pytest

from secateur.errors import ProjectError
from secateur.files import replacing, sha256_file, to_json, write_json


def test_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("old", "new"):
        with replacing(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_keeps_the_old_content_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ValueError, match="mistake"), replacing(target) as temporary:
        temporary.write_text("half")
        raise ValueError("mistake")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_becomes_one_line(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no space left on the device while writing"), replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_overwrites_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_text("half written")
    with replacing(tmp_path / "file") as temporary:
        assert not temporary.exists()
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_json_is_sorted_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert len(sha256_file(tmp_path / "a.json")) == 64
    with pytest.raises(ValueError, match="JSON"):
        to_json(float("nan"))


def test_a_folder_stays_when_the_new_one_cannot_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def refuse_the_new_one(self: Path, to: Path) -> Path:
        if self.name == ".model.new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(ProjectError, match="nothing was replaced"), replacing(target) as temporary:
        temporary.mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["model", "model/old"]


def test_a_folder_that_a_killed_process_moved_away_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old" / "old").touch()
    with pytest.raises(ValueError, match="mistake"), replacing(tmp_path / "model"):
        raise ValueError("mistake")
    assert (tmp_path / "model" / "old").exists()

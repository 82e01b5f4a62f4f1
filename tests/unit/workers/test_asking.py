"""What a program of a worker refuses: data out of its reach, and other code than who asks has."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from secateur.engines.remote import config_elsewhere
from secateur.engines.scratch import CACHE
from secateur.errors import ProjectError
from secateur.workers.asking import fetched, require_code
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.tiny import REPOSITORY

MD5 = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def asked() -> dict[str, Any]:
    return {"title": "prune@r1", "worker": "host, process 7", "code": "0" * 32, "cache": None, "inputs": {"data": MD5}}


def scratch(folder: Path, remote: tuple[str, dict[str, str]] | None) -> Project:
    """Make the folder that a worker is sent."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_bytes(config_elsewhere(remote, cache=f"../../{CACHE}"))
    return Project(folder)


@pytest.mark.parametrize("remote", ["a folder elsewhere", None])
def test_data_out_of_reach_is_refused_and_no_folder_is_made(
    tmp_path: Path, asked: dict[str, Any], remote: str | None
) -> None:
    url = str(tmp_path / "of another machine")
    project = scratch(tmp_path, remote and ("team", {"url": url}))
    with pytest.raises(ProjectError) as caught:
        fetched(project, asked)
    said = f"the DVC remote team is {url}, a folder that it does not see" if remote else "there is no DVC remote"
    assert str(caught.value) == (
        f"prune@r1: the worker host, process 7 cannot have the data: {said}; a remote on S3, a folder that all "
        "machines mount, or a shared cache (`dvc cache dir`) would work"
    )
    assert not Path(url).exists()


def test_a_cache_that_the_machine_sees_is_used_and_another_is_not(tmp_path: Path, asked: dict[str, Any]) -> None:
    content = b"rows\n"
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    kept = tmp_path / "shared" / "files" / "md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    (tmp_path / "work").mkdir()
    project = scratch(tmp_path / "work", None)
    _, shared = fetched(project, {**asked, "cache": str(tmp_path / "shared"), "inputs": {"data/rows": digest}})
    assert shared
    assert (project.root / "data" / "rows").read_bytes() == content
    with pytest.raises(ProjectError, match="there is no DVC remote"):
        (tmp_path / "other").mkdir()
        fetched(scratch(tmp_path / "other", None), {**asked, "cache": str(tmp_path / "shared")})


def test_other_code_of_a_stage_is_refused(asked: dict[str, Any]) -> None:
    project = Project(REPOSITORY)
    with pytest.raises(ProjectError, match=r"^prune@r1: the worker host, process 7 has other code of prune \("):
        require_code(project, read_config(project), asked, stage="prune")

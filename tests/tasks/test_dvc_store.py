"""What DVC says becomes one true line."""

import errno
from pathlib import Path

import pytest
from dvc.exceptions import CacheLinkError, DvcException

from secateur.errors import ProjectError
from secateur.workflow.dvc_store import _as_project_errors
from secateur.workflow.project import Project


def test_a_full_disk_is_no_missing_kind_of_link(tmp_path: Path) -> None:
    with (
        pytest.raises(ProjectError, match="no space left on the device while DVC worked"),
        _as_project_errors(Project(tmp_path)),
    ):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise CacheLinkError(["models/r2"]) from error


def test_what_else_dvc_says_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"^DVC: two lines$"), _as_project_errors(Project(tmp_path)):
        raise DvcException("two\nlines")

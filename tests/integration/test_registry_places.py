"""A registry in a folder with an awkward name, and on a file system where nothing can be written."""

import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from secateur.registry.mlflow_store import ModelRegistry
from secateur.workflow.project import Project
from tests.integration.in_process import output
from tests.integration.registry_stand import Stand

AWKWARD = "it's 100%25 #1 für uns?"

_MOUNTED = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" && shift && exec "$@"'
_MAIN = "import sys; sys.argv[0] = 'secateur'; from secateur.cli import main; main()"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Version 1 is the champion; who registered it was in a folder whose packages uv installs."""
    made = Stand(tmp_path_factory.mktemp("places") / AWKWARD)
    for name in ("uv.lock", "pyproject.toml"):  # MLflow would copy them to the files of a version
        (made.root / name).touch()
    with chdir(made.root):
        made.register("baseline")
    made.records.point("champion", "1")
    return made


def test_every_command_works_in_a_folder_with_an_awkward_name(stand: Stand) -> None:
    root = stand.root
    assert (root / "mlflow.db").is_file()
    assert sorted(folder.name for folder in root.parent.iterdir()) == [AWKWARD]
    assert "have their digests" in output(root, "models", "verify", "models:/tiny@champion")
    [predicted] = json.loads(output(root, "predict", "models:/tiny@champion", "--json", "a text"))
    assert predicted["label"] in ("negative", "neutral", "positive")
    assert output(root, "models", "history", "tiny").startswith("no champion yet")


def _where_nothing_can_be_written(root: Path) -> list[str]:
    """Return what goes before a command; skips where this machine has no way to do that."""
    if os.geteuid() != 0:
        for path in (root, *root.rglob("*")):
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        return []
    before = ["unshare", "-rm", "sh", "-c", _MOUNTED, "sh", str(root)]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("root writes everywhere, and no file system can be mounted read-only here")
    return before


def test_reading_needs_nothing_that_can_be_written(stand: Stand, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(stand.root, root, symlinks=True)
    # A dead process left a journal.
    registry = ModelRegistry(Project(root))
    journal = {
        "number": 1, "what": "promoted", "from_": None, "to": "1", "who": "me", "when": "2020-01-01T00:00:00+00:00",
        "why": "", "forced": False, "state": "pending", "host": "elsewhere", "process": "1@1",
    }  # fmt: skip
    registry._client.set_registered_model_tag("tiny", "secateur.transition", json.dumps(journal))
    before = _where_nothing_can_be_written(root)
    said = {}
    commands = [["models", "list"], ["models", "show", "tiny"], ["predict", "models:/tiny@champion", "a text"]]
    try:
        for command in commands:
            finished = subprocess.run(
                [*before, sys.executable, "-c", _MAIN, *command],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                capture_output=True,
                text=True,
                check=False,
            )
            assert finished.returncode == 0, finished.stderr
            said[" ".join(command[:2])] = finished.stdout + finished.stderr
    finally:
        for path in (root, *root.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert "tiny" in said["models list"]
    assert "an unfinished move of the champion of tiny stays as it is" in said["models show"]
    assert "a text" in said["predict models:/tiny@champion"]

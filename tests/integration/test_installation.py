"""What an installed secateur brings along, and what it takes from the folder that it is called in: nothing."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY, environment

_TRAP = "raise SystemExit('imported from the folder')\n"
_COMMAND = Path(sys.executable).parent / "secateur"


def test_the_wheel_holds_one_importable_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    for name in ("secateur", "flows", "tasks", "tests"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(build, cwd=source, capture_output=True, check=True)
    [wheel] = (source / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"secateur"}
    assert "secateur/report/templates/style.css" in names
    for kind in ("flows", "tasks"):
        files = {f"secateur/{kind}/{file.name}" for file in (REPOSITORY / kind).glob("*.py")}
        assert files == {name for name in names if name.startswith(f"secateur/{kind}/")}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder that looks like a project and holds traps under every name that we import."""
    for name in ("secateur", "flows", "tasks", "torch", "dvc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(_TRAP)
    for name in ("sitecustomize.py", "usercustomize.py", "click.py", "yaml.py", "conftest.py"):
        (tmp_path / name).write_text(_TRAP)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("ingest: {source: rows.csv}\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["plan"], ["inspect", "models"], ["models", "list"]])
def test_commands_import_nothing_from_the_folder(hostile: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [str(_COMMAND), *arguments], cwd=hostile, env=environment(), capture_output=True, text=True, check=False
    )
    assert "imported from the folder" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if arguments[0].startswith("--") else 2)

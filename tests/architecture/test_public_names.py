"""``secateur.__all__`` is the whole of what is promised to Python: it is there, cheap to import, and documented."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import secateur
from secateur import errors
from secateur.workflow import code_lock
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.tiny import python

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {"bench", "export", "in_transformers", "latency_table", "load", "prune", "save", "sentence_transformer"}
RESULTS = {"Figures", "LatencyResult", "LatencyTable", "Pruned"}
ERRORS = {name for name, found in vars(errors).items() if inspect.isclass(found)}
_NOTEBOOK = ROOT / "examples" / "prune-in-memory.ipynb"


def test_all_names_functions_what_they_return_and_every_error() -> None:
    assert set(secateur.__all__) == FUNCTIONS | RESULTS | ERRORS | {"__version__"}
    assert sorted(secateur.__all__) == secateur.__all__ == [name for name in dir(secateur) if name in secateur.__all__]


def test_the_package_shows_no_other_public_name() -> None:
    """Rooms are modules; ``TYPE_CHECKING`` and the like come from the standard library."""
    script = "import json, secateur; print(json.dumps([name for name in vars(secateur) if not name.startswith('_')]))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(json.loads(told.stdout)) == {"Any", "TYPE_CHECKING", "import_module"}
    with pytest.raises(AttributeError, match="module 'secateur' has no attribute 'nothing'"):
        _ = secateur.nothing


@pytest.mark.parametrize("name", sorted(FUNCTIONS | RESULTS | ERRORS))
def test_every_name_is_reached_from_the_package_and_has_a_section_of_the_reference(name: str) -> None:
    found = getattr(secateur, name)
    assert found.__name__ == name
    assert found.__module__.startswith("secateur.")
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in page
    if name in FUNCTIONS:
        described = inspect.getdoc(found) or ""
        assert all(f"{parameter}:" in described for parameter in inspect.signature(found).parameters)


def test_a_new_name_makes_no_stage_stale() -> None:
    """The package's own file is part of every stage's code: it names none of them."""
    text = (ROOT / "secateur" / "__init__.py").read_text(encoding="utf-8")
    assert [name for name in secateur.__all__ if name != "__version__" and name in text] == []
    project = Project(ROOT)
    for code in code_lock.code_of(project, read_config(project)).values():
        assert not any(file.startswith("secateur/api/") for file in code.files)


def test_star_import_gives_all_of_them() -> None:
    found: dict[str, object] = {}
    exec("from secateur import *", found)
    assert set(found) - {"__builtins__"} == set(secateur.__all__)


def test_functions_stay_what_they_are_when_rooms_are_imported() -> None:
    """A room of the same name would take a function's place in the package."""
    importlib.import_module("secateur.api.checkpoints")
    assert all(callable(getattr(secateur, name)) for name in FUNCTIONS)
    rooms = {path.parent.name for path in (ROOT / "secateur").glob("*/__init__.py")}
    rooms |= {path.stem for path in (ROOT / "secateur").glob("*.py")}
    assert not rooms & set(secateur.__all__)


def test_the_notebook_runs(tmp_path: Path) -> None:
    """All cells in one process, as a kernel runs them; what it asserts holds."""
    notebook = json.loads(_NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], {cell["cell_type"] for cell in notebook["cells"]}) == (4, {"code", "markdown"})
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    said = python(tmp_path, "\n\n".join(cells)).stdout.splitlines()
    assert said[0].startswith("fisher: ")
    assert any(line.startswith("quarter: ") and "ms" in line for line in said)
    assert {path.name for path in tmp_path.iterdir()} == {"pruned", "exported"}

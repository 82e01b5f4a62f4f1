"""Flows and stages of a project's own: what counts as such, how they are found, and what is said of a broken one."""

import shutil
import sys
from pathlib import Path

import pytest

from secateur.config.schema import RunConfig, parse_config
from secateur.errors import ProjectError
from secateur.identity.key import Identity
from secateur.scaffolding.copying_out import copy_out
from secateur.workflow import code_lock, full_form
from secateur.workflow.execution import execute
from secateur.workflow.full_form import carrier, folder_of, function_of, module_of, names_in
from secateur.workflow.project import Project, dirty_files
from secateur.workflow.stages import find_stage, stages
from tests.tiny import git

_TRAP = "raise SystemExit('imported from the folder')\n"
_ORDER = ["ingest", "clean", "baseline", "prune@r1", "prune@r2", "evaluate", "register", "report"]


@pytest.fixture
def config() -> RunConfig:
    rounds = {"r1": {"prev": "baseline"}, "r2": {"prev": "r1"}}
    return parse_config({"ingest": {"source": "rows.csv", "label_column": "label"}, "prune": {"rounds": rounds}})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with its own flows and stages, among files that must not be taken for them."""
    copy_out(tmp_path)
    for name in ("tasks.py", "flows.py", "secateur.py", "sitecustomize.py"):
        (tmp_path / name).write_text(_TRAP)
    return tmp_path


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_stages_come_in_the_order_of_what_they_read_and_write(config: RunConfig, tmp_path: Path) -> None:
    assert [stage.address for stage in stages(config, tmp_path)] == _ORDER
    assert names_in(tmp_path, "flows") == ["build", "promote", "reproduce", "retrain", "sweep"]


@pytest.mark.parametrize("first", ["", _TRAP, '# FORM_OF = "secateur"\n', 'FORM_OF = "another tool"\n'])
def test_a_folder_that_does_not_say_so_is_somebody_elses(config: RunConfig, tmp_path: Path, first: str) -> None:
    for kind in ("flows", "tasks"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "__init__.py").write_text(first)
        (tmp_path / kind / "clean.py").write_text(_TRAP)
    assert folder_of(tmp_path, "tasks") == carrier() / "tasks"
    assert [stage.address for stage in stages(config, tmp_path)] == _ORDER
    git(tmp_path, "init", "-q")
    assert dirty_files(tmp_path) == []


def test_copies_are_the_same_code_and_run_in_place_of_the_packages(config: RunConfig, own: Path) -> None:
    before = {name: code.digest for name, code in code_lock.code_of(Project(own.parent), config).items()}
    found = code_lock.code_of(Project(own), config)
    assert {name: code.digest for name, code in found.items()} == before
    assert found["clean"].files["tasks/clean.py"] == own / "tasks" / "clean.py"
    assert function_of(own, "tasks", "clean", "run").__code__.co_filename == str(own / "tasks" / "clean.py")
    assert "tasks" not in sys.modules or Path(str(sys.modules["tasks"].__file__)).parent != own / "tasks"
    assert not list(own.rglob("__pycache__")), "an edit within a second must not meet old bytecode"
    git(own, "init", "-q")
    assert dirty_files(own) == ["flows/", "tasks/"]


def test_a_helper_beside_the_stages_is_found_and_counts(config: RunConfig, own: Path) -> None:
    (own / "tasks" / "_rules.py").write_text("LEAST = 3\n")
    _edit(
        own / "tasks" / "clean.py",
        "from pathlib import Path\n",
        "from pathlib import Path\n\nfrom ._rules import LEAST\n",
    )
    assert [stage.address for stage in stages(config, own)] == _ORDER
    assert module_of(own, "tasks", "clean").LEAST == 3
    files = {name for name, code in code_lock.code_of(Project(own), config).items() if "tasks/_rules.py" in code.files}
    assert files == {"clean"}


def test_a_stage_more_takes_its_place_by_what_it_reads(config: RunConfig, own: Path) -> None:
    (own / "tasks" / "audit.py").write_text(
        "from secateur.workflow.stage import Output, Stage\n\n\n"
        "def declare(config, root):\n"
        "    inputs = {'train': 'data/clean/train.parquet'}\n"
        "    outputs = {'audit': Output('reports/audit.json')}\n"
        "    return [Stage(name='audit', inputs=inputs, parameters=(), outputs=outputs)]\n\n\n"
        "def run(job):\n"
        "    job.outputs['audit'].write_text('{}')\n"
    )
    assert [stage.address for stage in stages(config, own)] == [*_ORDER[:2], "audit", *_ORDER[2:]]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "from pathlib",
            "import no_such_thing\nfrom pathlib",
            "cannot be loaded: ModuleNotFoundError: No module named",
        ),
        ("from pathlib", "import tasks.ingest\nfrom pathlib", "what lies beside it begins with a dot"),
        ("def run(", "def run(:", "cannot be loaded: SyntaxError: "),
        ("def declare(", "def _declare(", "clean.py has no function declare()"),
        (
            'name="clean"',
            'name="cleaned"',
            "declare returns no stages named clean; one word names a stage and its file",
        ),
        ('"raw": "data/raw"', '"raw": "models/baseline"', "each reads what another one of them writes"),
    ],
)
def test_a_broken_stage_is_one_line(config: RunConfig, own: Path, before: str, after: str, said: str) -> None:
    _edit(own / "tasks" / "clean.py", before, after)
    path = [entry for entry in sys.path if not (Path(entry or ".") / "tasks").is_dir()]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ProjectError) as caught:
        patch.setattr(sys, "path", path)  # the tests themselves run in a folder with `tasks`
        patch.delitem(sys.modules, "tasks", raising=False)
        patch.delitem(sys.modules, "tasks.ingest", raising=False)
        stages(config, own)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_body_that_is_missing_is_refused_before_anything_is_computed(config: RunConfig, own: Path) -> None:
    _edit(own / "tasks" / "evaluate.py", "def measure(", "def measured(")
    _edit(
        own / "tasks" / "evaluate.py",
        "    from secateur.inference.device import enter",
        "    raise SystemExit('computed')\n    from secateur.inference.device import enter",
    )
    stage = find_stage(config, own, "evaluate")
    with pytest.raises(ProjectError, match=r"evaluate\.py has no function measure\(\)"):
        execute(Project(own), stage, config, Identity("evaluate", "", {}, {}, ""))


def test_the_wheel_carries_them_inside(config: RunConfig, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = own / "installed"
    for kind in ("flows", "tasks"):
        shutil.copytree(carrier() / kind, package / kind)
    before = {name: code.digest for name, code in code_lock.code_of(Project(own), config).items()}
    monkeypatch.setattr(full_form, "PACKAGE", package)
    assert carrier() == package
    found = code_lock.code_of(Project(own / "elsewhere"), config)
    assert {name: code.digest for name, code in found.items()} == before
    assert found["report"].files["tasks/report.py"] == package / "tasks" / "report.py"

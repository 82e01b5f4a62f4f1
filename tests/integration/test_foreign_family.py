"""A family of another package: a table of ours under another ``model_type``, found by its entry point."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generate import families as reference_of_families
from secateur.config.families import check_chosen
from secateur.config.schema import parse_config
from secateur.errors import ConfigError, ModelError
from secateur.extensions import forget
from secateur.families import family_named
from secateur.workflow import code_lock, code_snapshots
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.foreign_package import install
from tests.integration.in_process import refused
from tests.tiny import REPOSITORY, make_project

GROUP = "secateur.families"
SOURCE = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/howto/family.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    offer(folder, "layoutlm-family", "layoutlm_family", **{"layoutlm": "layoutlm_family:LAYOUTLM"})
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()
    sys.modules.pop("layoutlm_family", None)


def offer(site: Path, name: str, module: str, **entries: str) -> None:
    install(site, name=name, files={f"{module}.py": SOURCE}, entry_points={GROUP: entries})


def config_of(**baseline):
    return parse_config({"ingest": {"source": "-", "label_column": "-"}, "baseline": baseline})


def test_nobody_knows_it_without_the_package() -> None:
    with pytest.raises(ModelError, match=r"^model_type 'layoutlm' is not supported; supported: bert, "):
        family_named("layoutlm")
    with pytest.raises(
        ConfigError, match=r"^baseline\.family: 'layoutlm' is no family of another package; known: none"
    ):
        config_of(family="layoutlm")


@pytest.mark.usefixtures("site")
def test_it_is_found_when_it_is_asked_for() -> None:
    assert config_of(family="layoutlm").baseline.family == "layoutlm"
    assert "layoutlm_family" not in sys.modules
    assert family_named("layoutlm").model_type == "layoutlm"
    assert "| `layoutlm` | label texts | layoutlm-family 1.0 |" in reference_of_families()
    with pytest.raises(
        ModelError,
        match=r"^model_type 'layout' is not supported; supported: bert, .*, layoutlm, .*, xlm-roberta-xl$",
    ):
        family_named("layout")
    with pytest.raises(ConfigError, match=r"^baseline\.family: 'layoutl' is no .*; did you mean layoutlm\?"):
        config_of(family="layoutl")


def test_a_name_of_ours_and_a_family_of_another_name_are_refused(site: Path) -> None:
    offer(site, "greedy", "greedy", bert="greedy:LAYOUTLM", other="greedy:LAYOUTLM")
    forget()
    with pytest.raises(ModelError, match=r"^model_type bert is ours, and greedy 1\.0 brings another family for it"):
        family_named("bert")
    with pytest.raises(ConfigError, match=r"greedy:LAYOUTLM calls itself layoutlm; both must be one$"):
        family_named("other")
    assert family_named("roberta").model_type == "roberta"


@pytest.mark.usefixtures("site")
def test_a_project_names_it_or_is_told_to(tmp_path: Path) -> None:
    check_chosen("layoutlm", family="layoutlm", model="m")
    check_chosen("bert", family=None, model="m")
    with pytest.raises(
        ModelError, match=r"^baseline\.family=layoutlm is not that of baseline\.model=m, which is bert$"
    ):
        check_chosen("bert", family="layoutlm", model="m")
    root = make_project(tmp_path / "project")
    base = next(root.rglob("config.json"))
    base.write_text(json.dumps(json.loads(base.read_text()) | {"model_type": "layoutlm"}))
    error = refused(root, "run")
    assert isinstance(error, ModelError)
    brings = "whose family layoutlm-family 1.0 brings; baseline.family=layoutlm"
    assert f"is of model_type layoutlm, {brings}" in str(error)


def test_its_code_is_part_of_the_identity_of_what_uses_families(site: Path, tmp_path: Path) -> None:
    project, file = Project(make_project(tmp_path / "project")), site / "layoutlm_family.py"
    plain = code_lock.code_of(project, read_config(project))
    assert [name for name, code in plain.items() if "layoutlm_family.py" in code.files] == []
    params = json.loads(project.params_file.read_text())
    params["baseline"]["family"] = "layoutlm"
    project.params_file.write_text(json.dumps(params))
    before = code_lock.code_of(project, read_config(project))
    assert [name for name, code in before.items() if "layoutlm_family.py" in code.files] == [
        "baseline", "prune", "evaluate", "register",
    ]  # fmt: skip
    for code in before.values():
        code_snapshots.keep(project, code)
    file.write_text(SOURCE.replace("has the layers", "has all the layers"))
    code_lock._code_of.cache_clear()
    said_better = code_lock.code_of(project, read_config(project))
    assert {name: code.digest for name, code in said_better.items()} == {
        name: code.digest for name, code in before.items()
    }
    file.write_text(SOURCE + "\nUNUSED = 1\n")
    code_lock._code_of.cache_clear()
    after = code_lock.code_of(project, read_config(project))
    assert [name for name, code in after.items() if code.digest != before[name].digest] == [
        "baseline", "prune", "evaluate", "register",
    ]  # fmt: skip
    [change] = code_snapshots.changes(project, before["baseline"].digest, after["baseline"])
    assert (change.name, change.what, change.lines) == ("layoutlm_family.py", "changed", ("+9: UNUSED = 1",))


def test_it_passes_the_contract_suite(site: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests/contract/test_families.py",
            "-q",
            "-p",
            "no:xdist",
            "-k",
            "layoutlm",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10

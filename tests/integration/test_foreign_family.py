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
from secateur.models.families import family_named
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
    offer(folder, "xlm-family", "xlm_family", **{"xlm-roberta": "xlm_family:XLM_ROBERTA"})
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()
    sys.modules.pop("xlm_family", None)


def offer(site: Path, name: str, module: str, **entries: str) -> None:
    install(site, name=name, files={f"{module}.py": SOURCE}, entry_points={GROUP: entries})


def config_of(**baseline):
    return parse_config({"ingest": {"source": "-", "label_column": "-"}, "baseline": baseline})


def test_nobody_knows_it_without_the_package() -> None:
    with pytest.raises(ModelError, match=r"^model_type 'xlm-roberta' is not supported; supported: bert, "):
        family_named("xlm-roberta")
    with pytest.raises(
        ConfigError, match=r"^baseline\.family: 'xlm-roberta' is no family of another package; known: none"
    ):
        config_of(family="xlm-roberta")


@pytest.mark.usefixtures("site")
def test_it_is_found_when_it_is_asked_for() -> None:
    assert config_of(family="xlm-roberta").baseline.family == "xlm-roberta"
    assert "xlm_family" not in sys.modules
    assert family_named("xlm-roberta").model_type == "xlm-roberta"
    assert "| `xlm-roberta` | label texts | xlm-family 1.0 |" in reference_of_families()
    with pytest.raises(ModelError, match=r"^model_type 'xlm' is not supported; supported: bert, .*, xlm-roberta$"):
        family_named("xlm")
    with pytest.raises(ConfigError, match=r"^baseline\.family: 'xlm-robert' is no .*; did you mean xlm-roberta\?"):
        config_of(family="xlm-robert")


def test_a_name_of_ours_and_a_family_of_another_name_are_refused(site: Path) -> None:
    offer(site, "greedy", "greedy", bert="greedy:XLM_ROBERTA", other="greedy:XLM_ROBERTA")
    forget()
    with pytest.raises(ModelError, match=r"^model_type bert is ours, and greedy 1\.0 brings another family for it"):
        family_named("bert")
    with pytest.raises(ConfigError, match=r"greedy:XLM_ROBERTA calls itself xlm-roberta; both must be one$"):
        family_named("other")
    assert family_named("roberta").model_type == "roberta"


@pytest.mark.usefixtures("site")
def test_a_project_names_it_or_is_told_to(tmp_path: Path) -> None:
    check_chosen("xlm-roberta", family="xlm-roberta", model="m")
    check_chosen("bert", family=None, model="m")
    with pytest.raises(
        ModelError, match=r"^baseline\.family=xlm-roberta is not that of baseline\.model=m, which is bert$"
    ):
        check_chosen("bert", family="xlm-roberta", model="m")
    root = make_project(tmp_path / "project")
    base = next(root.rglob("config.json"))
    base.write_text(json.dumps(json.loads(base.read_text()) | {"model_type": "xlm-roberta"}))
    error = refused(root, "run")
    assert isinstance(error, ModelError)
    assert "is of model_type xlm-roberta, whose family xlm-family 1.0 brings; baseline.family=xlm-roberta" in str(error)


def test_its_code_is_part_of_the_identity_of_what_uses_families(site: Path, tmp_path: Path) -> None:
    project, file = Project(make_project(tmp_path / "project")), site / "xlm_family.py"
    plain = code_lock.code_of(project, read_config(project))
    assert [name for name, code in plain.items() if "xlm_family.py" in code.files] == []
    params = json.loads(project.params_file.read_text())
    params["baseline"]["family"] = "xlm-roberta"
    project.params_file.write_text(json.dumps(params))
    before = code_lock.code_of(project, read_config(project))
    assert [name for name, code in before.items() if "xlm_family.py" in code.files] == [
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
    assert (change.name, change.what, change.lines) == ("xlm_family.py", "changed", ("+9: UNUSED = 1",))


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
            "xlm-roberta",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10

"""A criterion of another package, which is the example of the documents: one file, found by its entry point."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.generate import criteria as reference_of_criteria
from secateur.cli import cli
from secateur.cli.pruning import _methods
from secateur.config.catalogue import parameters
from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from secateur.extensions import forget
from secateur.pruning.sweep import sweep
from secateur.workflow.params import propose
from secateur.workflow.project import Project
from tests.foreign_package import install
from tests.tiny import REPOSITORY, secateur
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

GROUP = "secateur.criteria"
LP = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/howto/criterion.md").read_text(), re.DOTALL)[1]


def install_lp(site: Path) -> Path:
    install(site, name="lp-norm", files={"lp_norm.py": LP}, entry_points={GROUP: {"lp": "lp_norm:LP"}})
    return site / "lp_norm.py"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    install_lp(folder)
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()
    sys.modules.pop("lp_norm", None)


def help_of(command: str) -> str:
    return CliRunner().invoke(cli, [command, "--help"], catch_exceptions=False).output


def prune_of(**given):
    return parse_config({"ingest": {"source": "-", "label_column": "-"}, "prune": given}).prune


@pytest.mark.usefixtures("site")
def test_help_shows_it_with_its_package_and_does_not_import_it() -> None:
    for command in ("prune", "sweep"):
        assert re.search(r"^  lp +of lp-norm 1\.0$", help_of(command), re.MULTILINE)
    assert "lp_norm" not in sys.modules


@pytest.mark.usefixtures("site")
def test_the_schema_takes_it_and_its_section_and_tells_what_was_meant(tmp_path: Path) -> None:
    assert prune_of(criterion="lp").own.model_dump() == {"power": 4.0}
    assert prune_of(criterion="lp", criteria={"lp": {"power": 2}}).shared().model_dump()["criteria"] == {
        "lp": {"power": 2.0}
    }
    for given, said in (
        ({"criterion": "lpp"}, "prune.criterion: 'lpp' is no criterion; did you mean lp?"),
        (
            {"criteria": {"lp": {"powr": 2}}},
            "prune.criteria.lp.powr is not a known parameter; did you mean prune.criteria.lp.power?",
        ),
        ({"criteria": {"lp": {"power": 0}}}, "prune.criteria.lp.power: input should be greater than 0 (found 0)"),
        ({"criterion": "lp", "granularity": "weights"}, "criterion lp is for granularity structures"),
    ):
        with pytest.raises(ConfigError) as raised:
            prune_of(**given)
        assert said in str(raised.value)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    named = ["prune.criterion=lp", "prune.criteria.lp.power=3"]
    assert propose(Project(tmp_path), file=None, overrides=named).config.prune.own.model_dump() == {"power": 3.0}


@pytest.mark.usefixtures("site")
def test_the_reference_lists_it() -> None:
    assert {"name": "prune.criteria.lp.power", "type": "number > 0", "description": "p of the norm"} in parameters()
    assert "| `lp` (of lp-norm 1.0) | size by any norm | structures | nothing | an example |" in reference_of_criteria()


@pytest.mark.usefixtures("site")
def test_a_sweep_takes_it() -> None:
    assert _methods("lp,random") == ["lp", "random"]
    with pytest.raises(ConfigError, match=r"^--methods: wanda scores single weights, and a sweep cuts structures$"):
        _methods("lp,wanda")
    found = sweep(
        tiny_model(),
        train=tiny_rows(16),
        validation=tiny_rows(16, seed=1),
        methods=("lp",),
        kind="macs",
        fractions=(0.6,),
        settings=prune_settings(ffn_multiple=4, repair="none"),
        seed=0,
        precision="fp32",
    )
    assert [(point.method, point.error) for point in found.points] == [("lp", None)]
    assert found.points[0].achieved["macs"] <= 0.6


def test_one_that_cannot_be_loaded_breaks_nothing_else(site: Path) -> None:
    (site / "lp_norm.py").write_text("import no_such_module_anywhere\n")
    assert "of lp-norm 1.0" in help_of("prune")
    assert prune_of(criterion="obs").own.model_dump() == {"search_trials": 0}
    assert [row["name"] for row in parameters() if ".lp." in row["name"]] == []
    with pytest.raises(ConfigError, match=r"^criterion lp of lp-norm 1\.0 cannot be loaded: ModuleNotFoundError"):
        prune_of(criterion="lp")


def test_a_name_of_ours_is_refused_in_one_line(site: Path) -> None:
    install(site, name="greedy", files={"greedy.py": ""}, entry_points={GROUP: {"obs": "greedy:OBS"}})
    forget()
    with pytest.raises(ConfigError, match=r"^prune\.criterion: criterion obs is ours, and greedy 1\.0 brings another"):
        prune_of(criterion="obs")


def test_it_passes_the_contract_suite(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/contract/test_criteria.py", "-q", "-p", "no:xdist", "-k", "lp"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10


def test_its_code_is_part_of_the_identity_of_rounds_alone(project: Path, tmp_path: Path) -> None:
    """It is not part of a project that has chosen another; a docstring counts nowhere, a line makes rounds stale."""
    file = install_lp(tmp_path / "site")
    installed = {"PYTHONPATH": str(file.parent)}

    def verdicts() -> dict[str, str]:
        planned = json.loads(secateur(project, "plan", "--json", env=installed).stdout)
        return {entry["stage"]: entry["verdict"] for entry in planned}

    assert set(verdicts().values()) == {"up to date"}
    secateur(project, "run", "-S", "prune.criterion=lp", "-S", "prune.criteria.lp.power=2", env=installed)
    card = json.loads((project / "models/r1/card.json").read_text())
    assert card["parameters"]["prune.criterion"] == "lp"
    assert set(verdicts().values()) == {"up to date"}
    file.write_text(file.read_text().replace("of everything that leaves with it", "of what leaves with it"))
    assert set(verdicts().values()) == {"up to date"}
    file.write_text(file.read_text().replace("* groups.num_weights", "* groups.num_weights * 2"))
    stale = {stage for stage, verdict in verdicts().items() if verdict == "run"}
    assert stale == {"prune@r1", "prune@r2"}
    said = secateur(project, "why", "prune@r1", env=installed).stdout
    assert "code lp_norm.py changed" in said
    assert "groups.num_weights * 2" in said
    refused = secateur(project, "plan", check=False, env={})
    assert refused.returncode == 2
    assert "prune.criterion: 'lp' is no criterion" in refused.stderr

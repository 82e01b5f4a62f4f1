"""``why`` names the cause: a parameter, a byte of data, a line of a helper, a lost or changed output."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

import secateur as pkg
from secateur.cli import cli
from secateur.workflow.project import Project, exclusive
from tests.integration.in_process import digests, output, refused
from tests.tiny import REPOSITORY, dvc, git, secateur


def _why(root: Path, stage: str = "prune@r2") -> str:
    return output(root, "why", stage)


def _words(said: str) -> str:
    """Return what was printed without what lays it out."""
    return " ".join(said.split())


def test_says_so_when_nothing_changed(project: Path) -> None:
    assert _why(project).startswith("prune@r2 is up to date")


def test_a_parameter_with_both_values(project: Path) -> None:
    text = (project / "params.yaml").read_text().replace('"temperature": 2.0', '"temperature": 3.0')
    (project / "params.yaml").write_text(text)
    assert "parameter prune.recovery.temperature changed from 2.0 to 3.0" in _why(project)


def test_a_byte_of_data(project: Path) -> None:
    rows = (project / "rows.csv").read_bytes()
    (project / "rows.csv").write_bytes(rows.replace(b"good", b"gooe", 1))
    said = _why(project)
    assert "ingest would run" in said
    assert "data rows.csv changed" in said
    assert "prune@r2 would run if what it reads changes" in said
    assert "prune@r2 run if what it reads changes depends on baseline" in _words(output(project, "plan"))


def test_a_cause_of_its_own_makes_a_stage_run_whatever_comes_before_it(project: Path) -> None:
    """As `plan` says; `why` made it depend on the stages before."""
    (project / "rows.csv").write_bytes((project / "rows.csv").read_bytes().replace(b"good", b"gooe", 1))
    text = (project / "params.yaml").read_text().replace('"temperature": 2.0', '"temperature": 3.0')
    (project / "params.yaml").write_text(text)
    said = _words(_why(project))
    assert "prune@r2 would run parameter prune.recovery.temperature changed" in said
    assert "it depends on baseline" in said
    assert "prune@r2 run parameter prune.recovery.temperature" in _words(output(project, "plan"))


def test_a_line_of_a_helper_of_the_installed_package(project: Path, tmp_path: Path) -> None:
    """Exactly the stages that use it are stale; a comment or a docstring makes none stale."""
    package = tmp_path / "installed" / "secateur"
    shutil.copytree(Path(str(pkg.__file__)).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("flows", "tasks"):  # where the wheel carries them
        shutil.copytree(REPOSITORY / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    installed = {"PYTHONPATH": str(package.parent)}
    helper = package / "pruning" / "round.py"
    assert "secateur.pruning.round " not in (package / "tasks" / "prune.py").read_text()
    text = helper.read_text()
    helper.write_text("# Said better.\n" + text.replace('"""', '"""Said better. ', 1))
    planned = json.loads(secateur(project, "plan", "--json", cold=True, env=installed).stdout)
    assert {entry["verdict"] for entry in planned} == {"up to date"}
    helper.write_text(text + "\nUNUSED = 1\n")
    refused = dvc(project, "repro", "--single-item", "--force", "prune@r1", cold=True, env=installed, check=False)
    assert "does not know the code of prune" in refused.stderr
    said = secateur(project, "why", "prune@r2", cold=True, env=installed).stdout
    assert said.count("code secateur/pruning/round.py changed") == said.count("UNUSED = 1") == 1
    assert "prune@r2 would run 1 of the files of code above" in _words(said)
    planned = json.loads(secateur(project, "plan", "--json", cold=True, env=installed).stdout)
    stale = {entry["stage"] for entry in planned if any("code" in cause for cause in entry["causes"])}
    assert stale == {"prune@r1", "prune@r2"}


def test_a_deleted_output(project: Path) -> None:
    (project / "models/r2/model.safetensors").unlink()
    (project / "models/r2/card.json").unlink()
    said = _why(project)
    assert "models/r2" in said
    assert "would be restored" in said


def test_a_tampered_output(project: Path) -> None:
    with (project / "models/r2/model.safetensors").open("ab") as file:
        file.write(b"x")
    assert "output models/r2 was changed outside the workflow" in _why(project)


def test_json_holds_the_same(project: Path) -> None:
    (project / "models/r1/config.json").unlink()
    entries = json.loads(output(project, "why", "prune@r2", "--json"))
    assert [entry["stage"] for entry in entries] == ["ingest", "clean", "baseline", "prune@r1", "prune@r2"]
    assert entries[3]["verdict"] == "restore"


def test_plan_lists_every_stage_and_writes_nothing_for_a_hypothetical_change(project: Path) -> None:
    entries = json.loads(output(project, "plan", "--json"))
    assert {entry["verdict"] for entry in entries} == {"up to date"}
    planned = json.loads(output(project, "plan", "--json", "-S", "evaluate.batch_size=7"))
    assert planned["changed"] == ["evaluate.batch_size"]
    assert [stage for stage, names in planned["stages"].items() if names] == ["evaluate"]
    assert git(project, "status", "--porcelain") == ""


def test_an_unknown_stage_lists_those_that_exist(project: Path) -> None:
    assert "prune@r9 is not a stage; stages are ingest, clean" in str(refused(project, "why", "prune@r9"))


def test_a_dvc_yaml_of_somebody_else_is_not_replaced(project: Path) -> None:
    """By nothing that would write one; what somebody added to ours is kept beside the new one."""
    file = project / "dvc.yaml"
    ours = file.read_text()
    own = "stages:\n  scrape:\n    cmd: python scrape.py\n    outs:\n      - scraped.csv\n"
    file.write_text(own)
    for command in (["plan"], ["why", "clean"], ["run"]):
        said = str(refused(project, *command))
        assert "is not one that secateur rendered: it has the stage scrape" in said
        assert "move it into one" in said
    file.write_text(ours + own.removeprefix("stages:\n").replace("  scrape", "artifacts:\n  scrape", 1))
    output(project, "plan")
    assert file.read_text() == ours
    assert "artifacts:" in (project / "dvc.yaml.before").read_text()
    output(project, "plan")
    assert not (project / "dvc.yaml.before2").exists()
    file.write_text(ours.partition("\n")[0] + "\na: " + "[" * 200_000)  # ends a process that reads it
    output(project, "plan")
    assert file.read_text() == ours and (project / "dvc.yaml.before2").exists()


def test_while_a_run_goes_on_plan_and_why_look_and_write_nothing(project: Path) -> None:
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace('"temperature": 2.0', '"temperature": 3.0')
    )
    output(project, "plan")  # code and pipeline are current
    before = digests(project)
    with exclusive(Project(project)), chdir(project):
        shown = CliRunner().invoke(cli, ["plan", "--json"])
        why = CliRunner().invoke(cli, ["why", "prune@r1"])
        assert f"another command works here (process {os.getpid()}): so it stands at this moment" in shown.stderr
        assert [entry["verdict"] for entry in json.loads(shown.stdout)][3] == "run"
        assert "prune@r1 would run" in why.stdout
        assert digests(project) == before
    assert json.loads(output(project, "plan", "--json"))[3]["verdict"] == "run"

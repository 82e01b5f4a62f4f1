"""What the registry holds: every accepted model with all that is needed to use and to rebuild it, once."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import torch
import yaml
from mlflow import MlflowClient

import secateur
from secateur.errors import ModelError, NotRegistered, ProjectError
from secateur.files import write_json
from secateur.inference.prediction import Predictor
from secateur.models.card import read_card
from secateur.models.checkpoint import load
from secateur.registry.mlflow_store import ModelRegistry, tracking_uri
from secateur.registry.model_description import problem_of_digest
from secateur.workflow.driver import bring_up_to_date
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage
from tests.integration.in_process import digests, output, refused
from tests.tiny import environment, git

MODELS = {"1": "baseline", "2": "r1", "3": "r2"}
RELEASED = Path(__file__).with_name("released")
TEXTS = ["the day good a river", "my house awful today", "[square] brackets and 好"]


@pytest.fixture
def registry(finished_project: Path) -> ModelRegistry:
    return ModelRegistry(Project(finished_project))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_baseline_and_every_accepted_round_are_registered(registry: ModelRegistry) -> None:
    versions = registry.versions("tiny")
    assert {v.version: v.tags["secateur.stage"] for v in versions} == {
        "1": "baseline",
        "2": "prune@r1",
        "3": "prune@r2",
    }
    assert {v.version: v.aliases for v in versions} == {"1": (), "2": (), "3": ("challenger",)}


@pytest.mark.parametrize("number", MODELS)
def test_the_tags_say_what_a_version_was_made_of(registry: ModelRegistry, finished_project: Path, number: str) -> None:
    tags = {
        name.removeprefix("secateur."): value for name, value in registry.version(f"models:/tiny/{number}").tags.items()
    }
    folder = finished_project / "models" / MODELS[number]
    card = read_card(folder)
    assert tags["commit"] == git(finished_project, "rev-list", "--max-parents=0", "HEAD").strip()
    assert tags["reproducible"] == "true"
    assert tags["params_sha256"] == _sha256(finished_project / "params.yaml")
    assert tags["constraints_sha256"] == _sha256(finished_project / "constraints.txt")
    lock = yaml.safe_load((finished_project / "dvc.lock").read_text())
    assert tags["data_md5"] == next(o["md5"] for o in lock["stages"]["ingest"]["outs"] if o["path"] == "data/raw")
    assert (tags["key"], tags["stage"], tags["state"]) == (card["key"], card["stage"], card["state"])
    assert tags["weights_sha256"] == card["weights_sha256"]
    files = json.loads(tags["files"])
    assert files == {file.name: _sha256(file) for file in folder.iterdir() if file.name != "card.json"}
    assert set(json.loads(tags["fingerprint"])) >= {"torch", "cpu_capability", "num_threads", "python", "constraints"}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", tags["flow_run_id"])


def test_one_run_with_a_child_per_model(registry: ModelRegistry, tmp_path: Path) -> None:
    client = MlflowClient(registry.uri)
    [experiment] = [e for e in client.search_experiments() if e.name == "secateur"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = {run.info.run_name: run for run in runs if run not in parents}
    assert set(children) == set(MODELS.values())
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parents[0].info.run_id}
    assert children["r2"].data.params["prune.budget.macs"] == "0.6"
    assert {"macro_f1", "sparsity", "params", "torch_ms", "training/validation_loss"} <= set(
        children["r2"].data.metrics
    )
    # The whole lock goes with the run: a version can be rebuilt even when nobody committed it.
    kept = Path(mlflow.artifacts.download_artifacts(f"runs:/{parents[0].info.run_id}/", dst_path=str(tmp_path)))
    assert {file.name for file in kept.iterdir()} == {"dvc.lock", "params.yaml", "metrics.json", "data.json"}
    version = registry.version("models:/tiny@challenger")
    assert _sha256(kept / "dvc.lock") == version.tags["secateur.dvc_sha256"]
    assert set(yaml.safe_load((kept / "dvc.lock").read_text())["stages"]) >= {"ingest", "prune@r2", "evaluate"}


def test_the_database_lies_in_the_project(finished_project: Path, registry: ModelRegistry) -> None:
    assert registry.uri == f"sqlite:///{finished_project}/mlflow.db"
    assert (finished_project / "mlflow.db").is_file()
    written = json.loads((finished_project / "reports/registered.json").read_text())
    # The project of a test is a copy; where the original lay is all that differs.
    assert written.pop("tracking_uri").endswith("/project/mlflow.db")
    assert written.pop("when")[:2] == "20"
    assert written == {
        "model": "tiny",
        "versions": {name: number for number, name in MODELS.items()},
        "alias": "challenger",
        "chosen": "r2",
        "champion": None,
    }


def test_the_artifacts_lie_in_the_project_wherever_the_command_was_called(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "data")
    for name in ("mlflow.db", "reports/registered.json"):
        (project / name).unlink()
    assert _register(project)["versions"] == {name: number for number, name in MODELS.items()}
    assert not (project / "data" / "mlruns").exists()
    folder = ModelRegistry(Project(project)).checkpoint("models:/tiny@challenger")
    assert folder.is_relative_to(project / "mlruns")


def test_two_projects_in_one_process_keep_apart(project: Path, finished_project: Path) -> None:
    one, other = ModelRegistry(Project(finished_project)), ModelRegistry(Project(project))
    assert one.uri != other.uri
    other.set_alias("tiny", "tried", "1")
    assert one.version("models:/tiny/1").aliases == ()


def test_the_server_of_the_environment_goes_before(finished_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(Project(finished_project)) == "http://127.0.0.1:9"


def test_a_fresh_process_loads_the_model_with_plain_mlflow(finished_project: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys, mlflow\n"
        f"mlflow.set_tracking_uri('sqlite:///{finished_project}/mlflow.db')\n"
        "model = mlflow.pyfunc.load_model('models:/tiny@challenger')\n"
        f"print(json.dumps(model.predict({TEXTS!r}).to_dict('records')))\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    expected = Predictor.load(finished_project / "models" / "r2").predict(TEXTS)
    predicted = json.loads(completed.stdout)
    assert [row["label"] for row in predicted] == [p.label for p in expected]
    # ONNX Runtime adds the same products in another order; the export tolerates 1e-4 in the logits.
    assert [row["score"] for row in predicted] == pytest.approx([p.score for p in expected], abs=1e-4)
    assert list(tmp_path.iterdir()) == [], "no second database where it was called"


def test_no_code_and_no_pickle_among_the_artifacts(finished_project: Path) -> None:
    files = [file for file in (finished_project / "mlruns").rglob("*") if file.is_file()]
    assert len(files) > 20
    suffixes = {".json", ".safetensors", ".onnx", ".txt", ".yaml", ".lock", ""}
    assert {file.suffix for file in files} <= suffixes
    assert {file.name for file in files if not file.suffix} <= {"MLmodel", "registered_model_meta"}
    for file in files:
        assert not file.read_bytes().startswith((b"\x80", b"PK\x03\x04")), f"{file} is pickle or a torch archive"


def test_python_loads_a_version_without_a_project_where_a_registry_is_named(
    finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_project)
    expected = load(finished_project / "models" / "r2").state_dict()
    assert _same(secateur.load("models:/tiny@challenger").state_dict(), expected)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="no project here"):
        secateur.load("models:/tiny/3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished_project}/mlflow.db")
    assert _same(secateur.load("models:/tiny/3").state_dict(), expected)
    with pytest.raises(NotRegistered, match="tiny has no such version or alias"):
        secateur.load("models:/tiny/9")
    assert list(tmp_path.iterdir()) == [], "nothing is left where it was called"


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_registered_checkpoint_is_the_one_of_the_run(
    registry: ModelRegistry, finished_project: Path, tmp_path: Path
) -> None:
    for number, name in MODELS.items():
        folder = registry.checkpoint(f"models:/tiny/{number}", target=tmp_path / number)
        assert digests(folder) == digests(finished_project / "models" / name)
        assert load(folder).config.model_type == "bert"


def test_the_deployed_form_lies_beside_the_checkpoint(registry: ModelRegistry, finished_project: Path) -> None:
    runtime = json.loads((finished_project / "reports/details.json").read_text())["deployed"]
    config = read_config(Project(finished_project))
    assert runtime == config.evaluate.deployed == config.register_.runtime
    for number, name in MODELS.items():
        entry = registry.version(f"models:/tiny/{number}")
        assert entry.tags["secateur.runtime"] == runtime
        assert entry.metrics["deployed_macro_f1"] == pytest.approx(entry.metrics["macro_f1"], abs=0.05)
        stored = registry.checkpoint(f"models:/tiny/{number}").parent
        exported = [folder for folder in stored.iterdir() if (folder / "model.onnx").is_file()]
        assert len(exported) == (runtime != "torch")
        for folder in exported:
            assert read_card(folder)["stage"] == read_card(finished_project / "models" / name)["stage"]
            assert Predictor.load(folder, runtime=runtime).predict(TEXTS)


def _register(root: Path) -> dict[str, Any]:
    """Bring the stage ``register`` up to date, as the flow does."""
    project = Project(root)
    config = read_config(project)
    outcome = bring_up_to_date(project, DvcStore(project), config, find_stage(config, root, "register"))
    assert outcome.action == "measured"
    written: dict[str, Any] = json.loads((root / "reports/registered.json").read_text())
    return written


def _num_runs(registry: ModelRegistry) -> int:
    client = MlflowClient(registry.uri)
    return len(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_registering_again_makes_no_new_version_and_no_run(project: Path) -> None:
    registry = ModelRegistry(Project(project))
    before, num_runs = registry.models(), _num_runs(registry)
    (project / "reports/registered.json").unlink()
    assert _register(project)["versions"] == {name: number for number, name in MODELS.items()}
    assert registry.models() == before
    assert _num_runs(registry) == num_runs == 4


def test_a_round_that_was_rolled_back_is_left_out(project: Path) -> None:
    card = project / "models/r2/card.json"
    write_json(card, {**json.loads(card.read_text()), "accepted": False})
    (project / "reports/registered.json").unlink()
    project_ = Project(project)
    config = read_config(project_)
    stage = find_stage(config, project, "register")
    from secateur.workflow.execution import execute_effects

    execute_effects(project_, stage, config, DvcStore(project_).identity("register"))
    assert json.loads((project / "reports/registered.json").read_text())["versions"] == {"baseline": "1", "r1": "2"}
    assert ModelRegistry(project_).version("models:/tiny@challenger").version == "2"


def test_the_command_line_lists_and_shows(finished_project: Path) -> None:
    [model] = json.loads(output(finished_project, "models", "list", "--json"))
    assert (model["name"], model["aliases"]) == ("tiny", {"challenger": 3})
    assert [version["version"] for version in model["versions"]] == ["3", "2", "1"]
    shown = json.loads(output(finished_project, "models", "show", "models:/tiny@challenger", "--json"))
    assert shown == model["versions"][0]
    assert json.loads(output(finished_project, "models", "show", "tiny", "--json")) == shown
    assert json.loads(output(finished_project, "models", "show", "models:/tiny/1", "--json"))["version"] == "1"
    table = output(finished_project, "models", "list")
    assert re.search(r"tiny\s+3\s+challenger\s+prune@r2", table)
    assert shown["tags"]["secateur.key"] in output(finished_project, "models", "show", "tiny")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing", "no registered model nothing; registered are: tiny"),
        ("models:/nothing@champion", "no registered model nothing; registered are: tiny"),
        ("models:/tiny@nobody", "model tiny has no such version or alias; found 3@challenger, 2, 1"),
        ("models:/tiny/9", "model tiny has no such version or alias; found 3@challenger, 2, 1"),
    ],
)
def test_an_unknown_model_or_alias_lists_what_there_is(finished_project: Path, reference: str, message: str) -> None:
    commands = [["models", "show", reference]]
    if reference.startswith("models:/"):
        commands += [["predict", reference, "a text"], ["inspect", reference]]
    for command in commands:
        error = refused(finished_project, *command)
        assert isinstance(error, ModelError)
        assert message in str(error)


def test_predicts_with_a_registered_model(finished_project: Path) -> None:
    by_alias = output(finished_project, "predict", "models:/tiny@challenger", "--json", *TEXTS)
    assert json.loads(by_alias) == json.loads(output(finished_project, "predict", "models/r2", "--json", *TEXTS))
    inspected = json.loads(output(finished_project, "inspect", "models:/tiny/2", "--json"))
    assert inspected["card"]["stage"] == "prune@r1"


@pytest.mark.parametrize("script", sorted(RELEASED.glob("*.txt")), ids=lambda script: script.stem)
def test_the_script_of_an_earlier_release_still_answers(script: Path, finished_project: Path) -> None:
    assert problem_of_digest(_sha256(script)) is None, "it is one that was released"
    names: dict[str, Any] = {"__name__": "registered_model", "__file__": str(finished_project / "none.py")}
    exec(compile(script.read_text(encoding="utf-8"), script.name, "exec"), names)
    folder = finished_project / "models/r2"
    model = names["RegisteredModel"]()
    model.load_context(SimpleNamespace(artifacts={"checkpoint": str(folder)}))
    answers = model.predict(None, list(TEXTS))
    expected = Predictor.load(folder).predict(TEXTS)
    assert answers["label"].tolist() == [prediction.label for prediction in expected]

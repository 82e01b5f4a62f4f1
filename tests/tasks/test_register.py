"""``register``: which models are published, with what, and who becomes the challenger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secateur.config.register import RegisterSection
from secateur.errors import ConfigError
from secateur.files import write_json
from secateur.registry import mlflow_store
from secateur.workflow.job import Job
from tasks import register
from tests.tiny import git

SECTION = RegisterSection(experiment="tests", model_name="tiny", runtime="torch")
MODELS = ("baseline", "r1", "r2")


class _Registry:
    """Stands in for the server and keeps what it is told."""

    published: list[mlflow_store.Version]
    alias: tuple[str, str, str]
    uri = "sqlite:///somewhere"

    def publish(self, versions: Sequence[mlflow_store.Version], **_: Any) -> dict[str, str]:
        self.published = list(versions)
        return {version.name: str(number) for number, version in enumerate(versions, start=1)}

    def tag(self, model_name: str, version: str, tags: Mapping[str, str]) -> None:
        self.tagged = (model_name, version, dict(tags))

    def aliases(self, model_name: str) -> Mapping[str, str]:
        return {"champion": "1"}

    def set_alias(self, model_name: str, alias: str, version: str) -> None:
        self.alias = (model_name, alias, version)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> _Registry:
    made = _Registry()
    monkeypatch.setattr(mlflow_store, "ModelRegistry", lambda _: made)
    return made


def _job(root: Path, *, rejected: str | None = None) -> Job:
    entry = {"macro_f1": 0.8, "params": 10, "accepted": True}
    rounds = dict.fromkeys(MODELS[1:], entry)
    write_json(root / "reports" / "metrics.json", {"baseline": entry, "rounds": rounds})
    write_json(root / "reports" / "data.json", {})
    for name in MODELS:
        card = {
            "key": f"key-{name}",
            "stage": name,
            "state": "recovered",
            "weights_sha256": "0" * 64,
            "files": {"model.safetensors": "1" * 64},
            "inputs": {"tokens": "abc"},
            "fingerprint": {"torch": "2"},
            "parameters": {"run.seed": 0},
            "accepted": name != rejected,
        }
        write_json(root / "models" / name / "card.json", card)
    (root / "params.yaml").write_text("run: {}\n")
    for arguments in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "parameters"]):
        git(root, *arguments)
    return Job(
        stage="register",
        key="abcdef0123456789",
        inputs={
            "metrics": root / "reports" / "metrics.json",
            "data": root / "reports" / "data.json",
            **{f"model.{name}": root / "models" / name for name in MODELS},
        },
        outputs={},
        effects={"registered": root / "reports" / "registered.json"},
        digests={"data": "d41d8"},
    )


def test_publishes_every_accepted_model_and_points_the_challenger_at_the_last(
    tmp_path: Path, registry: _Registry
) -> None:
    register.measure(_job(tmp_path), register=SECTION)
    assert [version.name for version in registry.published] == ["baseline", "r1", "r2"]
    assert registry.alias == ("tiny", "challenger", "3")
    written = json.loads((tmp_path / "reports" / "registered.json").read_text())
    assert written["versions"] == {"baseline": "1", "r1": "2", "r2": "3"}
    assert (written["chosen"], written["champion"]) == ("r2", "1")


def test_the_challenger_is_not_a_round_that_may_lose_more_and_is_no_faster(tmp_path: Path, registry: _Registry) -> None:
    job = _job(tmp_path)
    for name, promise, left in (("r1", 0.01, 0.66), ("r2", 0.02, 0.68)):
        card = json.loads((tmp_path / "models" / name / "card.json").read_text())
        found = {"asked": {"max_drop": promise}, "price": "latency", "achieved": {"latency": left}}
        write_json(tmp_path / "models" / name / "card.json", card | found)
    register.measure(job, register=SECTION)
    assert [version.name for version in registry.published] == ["baseline", "r1", "r2"], "both can be had"
    assert registry.alias == ("tiny", "challenger", "2")


def test_leaves_out_a_round_that_was_rolled_back(tmp_path: Path, registry: _Registry) -> None:
    register.measure(_job(tmp_path, rejected="r2"), register=SECTION)
    assert [version.name for version in registry.published] == ["baseline", "r1"]
    assert registry.alias == ("tiny", "challenger", "2")


def test_a_round_that_was_rolled_back_is_a_tag_with_what_it_tried(tmp_path: Path, registry: _Registry) -> None:
    job = _job(tmp_path, rejected="r2")
    card = json.loads((tmp_path / "models/r2/card.json").read_text())
    tried = {"achieved": {"macs": 0.1}, "metrics": {"validation_macro_f1": 0.61}, "widths": {"heads": [1], "ffn": [8]}}
    write_json(tmp_path / "models/r2/card.json", card | {"tried": tried, "reason": "r2 was rolled back", "metrics": {}})
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    metrics["rounds"]["r2"] = {"macro_f1": 0.62, "params": 7, "accepted": False}
    write_json(tmp_path / "reports/metrics.json", metrics)
    register.measure(job, register=SECTION)
    for version in registry.published:
        told = json.loads(version.tags["secateur.rolled_back.r2"])
        assert told["reason"] == "r2 was rolled back"
        assert (told["validation"], told["achieved"]) == ({"validation_macro_f1": 0.61}, {"macs": 0.1})
        assert told["test"] == {"macro_f1": 0.62, "params": 7}, "its own, not the 0.8 of the others"
        assert told["widths"] == {"heads": [1], "ffn": [8]}
    assert registry.tagged[:2] == ("tiny", "2"), "also where the last accepted round was registered before"
    assert list(registry.tagged[2]) == ["secateur.rolled_back.r2"]


def test_the_tags_name_the_commit_and_say_whether_it_can_be_rebuilt(tmp_path: Path, registry: _Registry) -> None:
    job = _job(tmp_path)
    register.measure(job, register=SECTION)
    tags = registry.published[0].tags
    assert tags["secateur.commit"] == git(tmp_path, "rev-parse", "HEAD").strip()
    assert tags["secateur.reproducible"] == "true"
    assert tags["secateur.key"] == "key-baseline"
    (tmp_path / "params.yaml").write_text("run: {seed: 1}\n")
    register.measure(job, register=SECTION)
    tags = registry.published[0].tags
    assert (tags["secateur.reproducible"], tags["secateur.dirty_files"]) == ("false", "params.yaml")


def test_metrics_are_numbers_and_parameters_are_those_of_the_card(tmp_path: Path, registry: _Registry) -> None:
    register.measure(_job(tmp_path), register=SECTION)
    assert registry.published[1].metrics == {"macro_f1": 0.8, "params": 10.0}
    assert registry.published[1].parameters == {"run.seed": 0}


def test_the_registered_form_is_the_one_that_was_evaluated(tmp_path: Path, registry: _Registry) -> None:
    job = _job(tmp_path)
    details = tmp_path / "reports" / "details.json"
    write_json(details, {"deployed": "onnx-int8"})
    job = replace(job, inputs={**job.inputs, "details": details})
    message = r"register\.runtime=torch was not evaluated, evaluate\.deployed=onnx-int8 was; set both to the same"
    with pytest.raises(ConfigError, match=message):
        register.measure(job, register=SECTION)
    write_json(details, {"deployed": "torch"})
    register.measure(job, register=SECTION)
    assert {(version.runtime, version.deployed) for version in registry.published} == {("torch", None)}


def test_the_export_of_equal_weights_has_the_card_of_its_own_round(
    tmp_path: Path, registry: _Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Path] = []

    def export(checkpoint: Path, *, runtime: str, workdir: Path) -> Path:
        folder = workdir / "0000-onnx"
        if not folder.exists():
            write_json(folder / "card.json", json.loads((checkpoint / "card.json").read_text()) | {"runtime": runtime})
            exported.append(folder)
        return folder

    monkeypatch.setattr("secateur.inference.runners.exported_folder", export)
    job = _job(tmp_path)
    job = replace(job, effects={**job.effects, "exports": tmp_path / "exports"})
    register.measure(job, register=SECTION.model_copy(update={"runtime": "onnx"}))
    keys = [json.loads((version.deployed / "card.json").read_text())["key"] for version in registry.published]
    assert keys == ["key-baseline", "key-r1", "key-r2"]
    assert len(exported) == 3

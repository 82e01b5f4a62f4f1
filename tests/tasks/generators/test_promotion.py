"""Promotion of generators with real models in a real registry: who is held, and who goes through."""

import json
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import PreTrainedModel

import secateur.registry.judgement
import secateur.registry.promotion
from flows.promote import promote, rollback
from secateur.cli import cli
from secateur.errors import ModelError
from secateur.registry.fresh_process import Answer
from secateur.registry.measurement import answers_here
from secateur.registry.model_source import Resolved
from tests.tasks.generators.stand import NAME, PROMOTE, GeneratorStand


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch, stand: GeneratorStand) -> GeneratorStand:
    """Let this process reload what a fresh one would: a folder is a part of what the alias is asked for."""

    def here(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
        return answers_here(folder, texts, num_threads=num_threads)

    monkeypatch.setattr(secateur.registry.judgement, "answers_of_folder", here)
    return stand


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, half: GeneratorStand) -> GeneratorStand:
    """Let this process answer for the alias too: that is tested by itself, and costs seconds."""

    def version(resolved: Resolved, texts: Sequence[str], **_: Any) -> list[Answer]:
        return answers_here(resolved.folder, texts, num_threads=1)

    monkeypatch.setattr(secateur.registry.promotion, "answers_of_version", version)
    return half


def _promote(stand: GeneratorStand, version: str) -> dict[str, Any]:
    """Return name -> condition, and what came of it under ``verdict``."""
    verdict = promote(stand.project, reference=f"models:/{NAME}/{version}")
    return {condition.name: condition for condition in verdict.conditions} | {"verdict": verdict}


@pytest.mark.usefixtures("forked_proofs")
def test_the_first_champion_writes_the_same_through_its_alias_in_a_fresh_process(half: GeneratorStand) -> None:
    found = _promote(half, "1")
    assert list(found) == [
        "digests", "reload", "test_rows", "quality_floor", "unknown", "latency", "size", "smoke", "verdict",
    ]  # fmt: skip
    assert found["verdict"].promoted
    assert half.records.alias("champion") == "1"
    assert found["quality_floor"].values["char_perplexity"] < 4.0


def test_a_worse_generator_is_held_and_a_slightly_worse_one_is_not(quick: GeneratorStand) -> None:
    assert _promote(quick, "1")["verdict"].promoted
    worse = _promote(quick, "3")
    assert not worse["verdict"].promoted
    assert not worse["quality_drop"].passed
    said = worse["quality_drop"].reason
    assert "on the same 60 test texts; at 95 % confidence it grows by" in said
    assert said.endswith("at most, 5.0% is allowed; it grows by more than that")
    assert quick.records.alias("champion") == "1"
    slightly = _promote(quick, "2")
    assert slightly["verdict"].promoted, slightly["verdict"].reason
    values = slightly["quality_drop"].values
    assert values["growth"] < values["highest"] < values["max_growth"]
    quick.configure(promote={**PROMOTE, "generation": {"max_growth": (values["growth"] + values["highest"]) / 2}})
    quick.records.point("champion", "1")
    unclear = _promote(quick, "2")["quality_drop"]
    assert not unclear.passed
    assert unclear.reason.endswith("more texts would tell")
    quick.configure()
    quick.records.point("champion", "2")
    assert rollback(quick.project, model_name=NAME, why="complaints").to == "1"
    gate = json.loads((quick.root / "reports/gate.json").read_text())
    assert gate["rolled_back"]["why"] == "complaints"


def test_a_limit_of_the_perplexity_holds_without_a_champion(quick: GeneratorStand) -> None:
    quick.configure(promote={"generation": {"max_char_perplexity": 1.01}})
    floor = _promote(quick, "1")["quality_floor"]
    assert not floor.passed
    assert "above the limit 1.01" in floor.reason


def test_a_generator_that_computes_no_numbers_is_held(quick: GeneratorStand) -> None:
    def spoil(model: PreTrainedModel) -> None:
        model.get_input_embeddings().weight.fill_(torch.nan)

    found = _promote(quick, quick.register("r9", quick.changed(spoil)))
    assert not found["verdict"].promoted
    assert not found["reload"].passed
    assert "holds NaN or infinity" in found["reload"].reason


def test_what_the_judge_finds_is_a_condition(quick: GeneratorStand, monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.evaluation import generator_measurement

    class Judge:
        labels = ("neg", "pos")
        sets = False

        def predict(self, texts: Sequence[str]) -> list[Any]:
            from secateur.inference.prediction import Prediction

            return [Prediction(label="neg", score=1.0, scores={}) for _ in texts]

    monkeypatch.setattr(generator_measurement.Predictor, "load", lambda *_, **__: Judge())
    limits = {"min_control_accuracy": 0.6}
    quick.configure(promote={**PROMOTE, "generation": limits}, evaluate={"judge": "judge"})
    control = _promote(quick, "1")["control"]
    assert (control.passed, control.values["control_accuracy"]) == (False, 0.5)


def test_a_tokenizer_that_knows_little_is_no_way_through(stand: GeneratorStand) -> None:
    import numpy as np

    from secateur.config.promote import PromoteSection
    from secateur.gate.generators import GeneratorAnswers, judge_generator

    blind = GeneratorAnswers(np.zeros(4), np.full(4, 5), unknown=0.8, bytes=1, latency_ms=[1.0])
    conditions = judge_generator(np.full(4, 5), challenger=blind, champion=None, settings=PromoteSection(), seed=0)
    assert [condition.name for condition in conditions if not condition.passed] == ["unknown"]


def test_a_model_of_another_task_is_refused_in_one_line(stand: GeneratorStand) -> None:
    stand.configure(
        run={"task": "classification"},
        prune={**_prune(stand), "recovery": _macro_f1(stand)},
        baseline={"control": False},
    )
    with pytest.raises(ModelError, match=r"is a model for generation, run\.task of this workspace is classification"):
        promote(stand.project, reference=f"models:/{NAME}/1")


def _prune(stand: GeneratorStand) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stand.root / "params.yaml").read_text())["prune"]
    return found


def _macro_f1(stand: GeneratorStand) -> dict[str, Any]:
    return {**_prune(stand)["recovery"], "best_by": "macro_f1"}


def test_two_generators_are_compared_text_by_text(stand: GeneratorStand) -> None:
    with chdir(stand.root):
        result = CliRunner().invoke(
            cli, ["models", "compare", f"models:/{NAME}/1", f"models:/{NAME}/3", "--examples", "3", "--json"]
        )
        assert result.exception is None, result.output
        shown = CliRunner().invoke(cli, ["models", "compare", f"models:/{NAME}/1", f"models:/{NAME}/3"])
    found = json.loads(result.stdout)
    assert found["task"] == "generation"
    assert found["scores"]["a"]["char_perplexity"] < found["scores"]["b"]["char_perplexity"]
    assert found["growth"]["low"] <= found["growth"]["value"] <= found["growth"]["high"]
    assert found["lost"] > found["won"]
    assert len(found["examples"]) == 3
    first = found["examples"][0]
    assert abs(first["b"] / first["a"]) >= abs(found["examples"][1]["b"] / found["examples"][1]["a"])
    assert shown.exit_code == 0
    assert "texts are less probable" in " ".join(shown.output.split())

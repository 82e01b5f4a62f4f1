"""A static student through the whole flow: taught, evaluated, shown, registered, promoted, answered with."""

import json
from pathlib import Path

import pytest

from secateur.models.card import Card
from tests.tiny import make_project, secateur

TEXT = "my house great the song today"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    rounds = {"r1": {"prev": "baseline", "student": "static"}}
    changes = {"prune.rounds": rounds, "evaluate.deployed": "onnx-int8", "register.runtime": "onnx-int8"}
    root = make_project(tmp_path_factory.mktemp("static") / "shop", changes=changes)
    secateur(root, "run")
    return root


def test_it_is_a_round_like_every_other(root: Path) -> None:
    card = Card.read(root / "models/r1")
    assert card.accepted and card.widths == {"heads": [], "ffn": [], "head_dim": 0}
    metrics = json.loads((root / "reports/metrics.json").read_text())["rounds"]["r1"]
    assert metrics["accepted"] and metrics["macs"] < 100_000
    assert metrics["macro_f1"] > 0.4
    page = (root / "reports/report.html").read_text()
    assert "static student" in page
    assert "static_student" in secateur(root, "inspect", "models/r1").stdout


def test_it_is_promoted_and_answers_from_the_registry(root: Path) -> None:
    assert secateur(root, "models", "promote").returncode == 0
    said = json.loads(secateur(root, "predict", "models:/tiny@champion", TEXT, "--json").stdout)
    beside = json.loads(secateur(root, "predict", "models/r1", TEXT, "--json").stdout)
    assert said[0]["label"] == beside[0]["label"] == "positive"


def test_no_round_starts_from_it_and_no_generator_has_one(root: Path) -> None:
    rounds = "prune.rounds={r1: {prev: baseline, student: static}, r2: {prev: r1}}"
    found = secateur(root, "plan", "-S", rounds, check=False)
    assert found.returncode == 2 and "round r2 cannot start from r1; baseline would work" in found.stderr
    found = secateur(
        root, "plan", "-S", "prune.rounds={r1: {prev: baseline, student: static, budget: 0.2}}", check=False
    )
    assert found.returncode == 2 and "round r1 cuts nothing (student=static); leave its budget out" in found.stderr
    found = secateur(root, "plan", "-S", "run.task=generation", check=False)
    assert found.returncode == 2
    found = secateur(root, "plan", "-S", "baseline.model=./models/r1", check=False)
    assert found.returncode == 2 and "is a static student; a baseline starts from a dense model" in found.stderr

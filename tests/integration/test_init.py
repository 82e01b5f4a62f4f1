"""``secateur init``: from a file of rows to a project that runs; what is refused leaves no trace."""

import json
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from secateur.cli import cli
from secateur.config.effective import effective
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.table_size import shortfalls
from tests.integration.in_process import actions_here, digests, output, refused
from tests.tiny import git, secateur, write_bert, write_rows

COUNTED = ("-S", "prune.budget.price=macs", "-S", "prune.ffn_multiple=8", "-S", "baseline.min_steps=40")
"""A model so small is too fast to be timed, and so short that a promise needs no long recovery."""
QUICK = ("-S", "prune.recovery.min_steps=10", "-S", "evaluate.latency.repeats=3", "-S", "run.precision=fp32")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with rows and a tiny model, under no git."""
    write_rows(tmp_path / "tickets.csv", 160)
    write_bert(tmp_path / "tiny-bert")
    return tmp_path


def _params(root: Path) -> dict:
    return YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))


def _says_nothing_of_rows(root: Path) -> tuple[str, ...]:
    report = json.loads((root / "reports/data.json").read_text(encoding="utf-8"))
    return shortfalls(report, read_config(Project(root)))


def test_a_table_becomes_a_project_that_runs_and_has_nothing_to_do_afterwards(place: Path, prefect_server: str) -> None:
    """In a folder that holds code of somebody else, none of which is imported."""
    root = place / "shop"
    (root / "flows").mkdir(parents=True)
    for name in ("tasks.py", "flows/__init__.py", "sitecustomize.py", "secateur.py"):
        (root / name).write_text("raise SystemExit('imported from the project')\n")
    said = output(place, "init", "shop", "--source", "tickets.csv", "--model", "tiny-bert", *COUNTED, *QUICK)
    assert "160 rows" in said and "copied" in said and "text from 'text', label from 'label'" in said
    assert said.rstrip().endswith('next: cd shop && git add -A && git commit -m "A project" && secateur run')
    chosen = _params(root)
    assert (chosen["ingest"]["source"], chosen["baseline"]["model"]) == ("tickets.csv", "../tiny-bert")
    assert chosen["prune"]["budget"] == {"max_drop": chosen["prune"]["budget"]["max_drop"], "price": "macs"}
    assert (root / "tickets.csv").read_bytes() == (place / "tickets.csv").read_bytes()
    assert git(root, "status", "--porcelain", "--ignored", "models") == ""
    assert "ingest" in output(root, "plan")
    secateur(root, "run")
    assert _says_nothing_of_rows(root) == ()
    assert {*actions_here(root).values()} == {"cached"}
    assert json.loads((root / "reports/metrics.json").read_text())["baseline"]["macro_f1"] > 0.5

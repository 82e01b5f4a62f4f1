"""The documentation site: it builds, its commands exist, and those that are marked do what the page says."""

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from secateur.cli import cli
from tests.integration.in_process import output
from tests.tiny import git, secateur, sentences, write_bert

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
_BLOCK = re.compile(r"(<!-- run -->\n)?```sh\n(.*?)```", re.DOTALL)
_TINY = (
    "--model=tiny-bert", "-S", "prune.budget.macs=0.6", "-S", "prune.ffn_multiple=8", "-S", "baseline.min_steps=80",
    "-S", "baseline.learning_rate=3e-3", "-S", "baseline.train_embeddings=true", "-S", "prune.recovery.min_steps=20",
    "-S", "evaluate.latency.repeats=3", "-S", "run.precision=fp32", "-S", "evaluate.deployed=torch",
    "-S", "register.runtime=torch", "-S", "evaluate.latency.runtimes=[torch]",
)  # fmt: skip
"""A model of random weights in place of a pretrained one: eager to learn, and too fast to be timed.

``test_pairs`` has a project that is deployed in int8, as init has it.
"""
_ASSIGNS = re.compile(r"[A-Z_]+=.*")
_OTHERS = {
    "cd",
    "curl",
    "dask",
    "docker",
    "dvc",
    "export",
    "git",
    "make",
    "mlflow",
    "model_signing",
    "openssl",
    "prefect",
    "python",
}


def _lines(page: Path, *, marked: bool = False) -> Iterator[str]:
    for run, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if run or not marked:
            yield from block.replace("\\\n", " ").splitlines()


def _commands() -> list[str]:
    return sorted({line for page in PAGES for line in _lines(page)})


@pytest.mark.parametrize("line", _commands())
def test_every_command_of_the_site_is_one_that_the_program_takes(line: str) -> None:
    words = [*dropwhile(_ASSIGNS.fullmatch, shlex.split(line, comments=True))]
    if words[0] != "secateur":
        assert words[0] in _OTHERS, f"{words[0]} is neither secateur nor one of {sorted(_OTHERS)}"
        return
    command: click.Command = cli
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    assert command.make_context(command.name, rest, **cli.context_settings).params is not None


def test_parameters_that_the_pages_name_exist() -> None:
    known = set(re.findall(r"^\| `([a-z_0-9.]+)`", (ROOT / "docs" / "parameters.md").read_text(), re.MULTILINE))
    sections = {name.partition(".")[0] for name in known}
    for page in PAGES:
        if page.name == "log.md":
            continue  # keeps what was tried, also with what is gone
        for name in re.findall(r"`([a-z_]+\.[a-z_.]+)(?:=[^`]*)?`", page.read_text(encoding="utf-8")):
            if name.partition(".")[0] in sections and not name.endswith((".json", ".yaml", ".csv")):
                assert any(entry == name or entry.startswith(f"{name}.") for entry in known), f"{page.name}: {name}"


def test_the_site_builds_and_links_nothing_that_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:css|js|woff2?)', index), "the site fetches something"
    assert (tmp_path / "site" / "images" / "report-wide.png").is_file()


@pytest.mark.usefixtures("forked_proofs")
def test_the_tutorial_works(tmp_path: Path, prefect_server: str) -> None:
    """All marked commands in their order, on a tiny model: own rows, champion, answers, nothing to retrain."""
    write_bert(tmp_path / "tiny-bert")
    with (tmp_path / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "stars"])
        writer.writerows((text, {"positive": 5, "negative": 1}[label]) for text, label in sentences(150, seed=1))
    said, here = {}, tmp_path
    for line in _lines(ROOT / "docs" / "tutorial.md", marked=True):
        program, *words = shlex.split(line)
        if program == "cd":
            here = here / words[0]
        elif program == "git":
            git(here, *words)
        elif words[0] == "run":  # what trains does so in a process of its own
            said[" ".join(words[:2])] = secateur(here, *words).stdout
        else:
            said[" ".join(words[:2])] = output(here, *words, *(_TINY if words[0] == "init" else ()))
    project = here
    assert {"init reviews", "plan", "run --commit", "run", "models promote", "models show", "retrain"} <= set(said)
    assert "cached" in said["run"]
    assert "challenger" in said["models list"]
    assert {"1", "5"} & set(said["predict models:/reviews@champion"].split())
    gate = json.loads((project / "reports" / "gate.json").read_text())
    assert gate["promoted"]
    assert said["retrain"].startswith("up to date")
    page = output(project, "report").strip()
    assert "Champion" in (project / page).read_text(encoding="utf-8")

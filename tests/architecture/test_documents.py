"""The generated parts of the documents are what the program says today."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from secateur.cli import cli
from secateur.workflow.params import propose
from secateur.workflow.project import Project

ROOT = Path(__file__).resolve().parents[2]


def test_generated_parts_are_current() -> None:
    completed = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, f"run `python docs/generate.py`: {completed.stdout}{completed.stderr}"


def test_every_document_that_is_named_exists() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{name} names {target}"


def _shell_lines() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith("secateur ")]


@pytest.mark.parametrize("line", _shell_lines())
def test_commands_of_the_readme_parse(line: str) -> None:
    command, context = cli, None
    words = shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.commands[name]
    context = command.make_context(command.name, words, **cli.context_settings)
    assert context.params is not None


def test_every_command_that_the_program_names_exists() -> None:
    named = set()
    for room in ("secateur", "flows", "tasks", "deploy"):
        for file in (ROOT / room).rglob("*.py"):
            named |= {(file.name, words) for words in re.findall(r"`secateur ([a-z][a-z ]*)", file.read_text("utf-8"))}
    assert len(named) > 20
    for where, words in named:
        command: click.Command = cli
        for word in words.split():
            if not isinstance(command, click.Group):
                break  # what follows are arguments
            assert word in command.commands, f"{where} names `secateur {words}`"
            command = command.commands[word]


def test_parameters_of_the_readme_exist(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for line in _shell_lines():
        overrides = [word for word in shlex.split(line, comments=True) if "=" in word]
        assert propose(Project(tmp_path), file=None, overrides=overrides).config

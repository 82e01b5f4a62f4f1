"""The generated parts of the documents are what the program says today."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

import secateur
from secateur.cli import cli
from secateur.families import FAMILIES
from secateur.workflow.params import propose
from secateur.workflow.project import Project
from tests.tiny import python

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")


def test_generated_parts_are_current() -> None:
    script = "import runpy, sys; sys.argv[1:] = ['--check']; runpy.run_path('docs/generate.py', run_name='__main__')"
    completed = python(ROOT, script, check=False)
    assert completed.returncode == 0, f"run `python docs/generate.py`: {completed.stdout}{completed.stderr}"


def test_every_document_that_is_named_exists() -> None:
    for name in (*READMES, "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{name} names {target}"


def test_every_test_that_trust_rests_on_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/explanation/trust.md").read_text(encoding="utf-8")))
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert named <= set(re.findall(r"def (test_\w+)\(", tests))


def test_trust_names_a_test_or_says_that_nothing_holds() -> None:
    """An attack against which something holds has a test that shows it."""
    lines = (ROOT / "docs/explanation/trust.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split(" | ") for line in lines if line.startswith("| ") and line.count(" | ") >= 2]
    attacks = [row for row in rows if len(row) == 4 and row[0].strip() not in ("who", "who writes to")]
    assert len(attacks) > 50
    assert not [row[1] for row in attacks if "`test_" not in row[3] and "**nothing**" not in row[2]]


def _shell_lines() -> list[str]:
    blocks = [block for name in READMES for block in re.findall(r"```sh\n(.*?)```", _text(name), re.DOTALL)]
    commands = re.split(r"\n|&&|\|", "\n".join(blocks).replace("\\\n", " "))
    return sorted({command.strip() for command in commands if command.strip().startswith("secateur ")})


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("line", _shell_lines())
def test_commands_of_the_readme_parse(line: str) -> None:
    command, context = cli, None
    words = shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.commands[name]
    context = command.make_context(command.name, words, **cli.context_settings)
    assert context.params is not None


def test_both_readmes_say_the_same_of_what_can_be_counted() -> None:
    english, chinese = map(_text, READMES)
    [installing] = re.findall(r"\((\d) to (\d) minutes, ([\d.]+ GB)\)", english)
    assert installing in re.findall(r"（(\d) 到 (\d) 分钟，([\d.]+ GB)）", chinese)
    for text in (english, chinese):
        letters = re.sub(r"[^a-z0-9]", "", text.lower())
        assert not [name for name in FAMILIES if re.sub(r"[_-]text|[^a-z0-9]", "", name) not in letters]
        assert set(re.findall(r"\bsecateur\.([a-z_]+)\(", text)) <= set(secateur.__all__)
        blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        for target in re.findall(r"^make ([a-z-]+)", blocks, re.MULTILINE):
            assert f"\n{target}:" in _text("Makefile"), target


def test_make_setup_installs_and_runs_nothing() -> None:
    command = ["make", "--dry-run", "--always-make", "setup"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "deploy/install.py '.[demo,dev]'" in planned
    assert not re.findall(r"pytest|ruff|mypy|lint-imports|secateur run", planned)


def test_pages_install_what_is_here() -> None:
    """No index holds a package of this name: what would be installed from one is somebody else's."""
    extras = tomllib.loads(_text("pyproject.toml"))["project"]["optional-dependencies"]
    for page in (*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in READMES)):
        for asked in re.findall(r"`pip install ([^`]*)`", page.read_text(encoding="utf-8")):
            constraints, found = re.fullmatch(r"-c (\S+) (?:-e )?'\.\[(\w+)\]'", asked).groups()  # type: ignore[union-attr]
            assert found in extras and (ROOT / constraints).is_file(), f"{page.name}: {asked}"


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

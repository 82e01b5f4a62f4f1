"""Commands that run inside the process of the test, because a subprocess costs seconds."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from secateur.cli import cli
from secateur.errors import SecateurError

_OWN_RECORDS = (".git", ".dvc/tmp", ".secateur/run.lock", ".secateur/last_look.json")


def digests(root: Path) -> Mapping[str, str]:
    """Return path -> sha256 of everything a user could miss; not what git, DVC and the lock keep for themselves."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if (
            path.is_file()
            and path.suffix != ".pyc"
            and not any(name == own or name.startswith(f"{own}/") for own in _OWN_RECORDS)
        ):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def refused(root: Path, *arguments: str | Path) -> SecateurError:
    """Run a command that is the user's mistake: one line, exit code 2, and not a byte of the workspace changes."""
    before = digests(root)
    with chdir(root), pytest.raises(SecateurError) as caught:
        cli.main([str(argument) for argument in arguments], standalone_mode=False)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1
    changed = {name for name, _ in set(before.items()) ^ set(digests(root).items())}
    assert not changed, sorted(changed)
    return caught.value


def output(root: Path, *arguments: str | Path, stdin: str | None = None) -> str:
    """Run a command that succeeds, inside this process, and return what it printed to standard output."""
    with chdir(root):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def actions_here(root: Path, *arguments: str) -> dict[str, str]:
    """Run a flow that has nothing to do inside this process, and return stage -> what was done."""
    return {
        entry["stage"]: entry["action"] for entry in json.loads(output(root, "run", "--json", *arguments))["stages"]
    }

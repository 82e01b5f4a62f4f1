"""Install into this environment what ``make`` asks for: by uv, which takes a fraction of the time, or else by pip.

    python deploy/install.py '.[demo,dev]'

The pins are those of ``constraints.txt`` and the indices are those of pip, whose settings uv does not read. No bytecode
is compiled: all of it takes longer than uv does, and what is imported is compiled when it is. ``INSTALLER=pip`` asks
for pip. Nothing but the standard library is there yet.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PINS = "constraints.txt"
_UV = "uv==0.13.9"
_SECTIONS = ("global", "install", ":env:")
"""Of pip's settings; the later ones count."""

_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}


def main(wanted: Sequence[str]) -> int:
    """Install what is named, editable; return the exit code of who did it last."""
    settings = pip_settings(_pip("config", "list", capture=True).stdout)
    if os.environ.get("INSTALLER", "uv") != "pip" and (uv := _uv()) is not None:
        environment = {**os.environ, **({"SSL_CERT_FILE": settings["cert"]} if "cert" in settings else {})}
        asked = [word for name in wanted for word in ("--editable", name)]
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, *uv_options(settings), *asked]
        if subprocess.run(command, env=environment, check=False).returncode == 0:
            return 0
        print("uv could not install that; pip tries", file=sys.stderr)  # noqa: T201
    asked = [word for name in wanted for word in ("-e", name)]
    return _pip("install", "--quiet", "-c", _PINS, *asked).returncode


def pip_settings(listed: str) -> dict[str, str]:
    """Return name -> value of what ``pip config list`` says; of a name in several sections the last one counts."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.partition(".")
        if equals and section in found:
            found[section][key] = str(ast.literal_eval(value))
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def uv_options(settings: Mapping[str, str]) -> list[str]:
    """Return the options that make uv look where pip looks, and take what pip takes: the best version of any index."""
    return ["--constraint", _PINS, "--index-strategy", "unsafe-best-match", *_translated(settings)]


def _translated(settings: Mapping[str, str]) -> Iterator[str]:
    for name, option in _OPTIONS.items():
        for value in settings.get(name, "").split():
            yield from (option, value)
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        yield "--no-index"


def _uv() -> str | None:
    """Return a uv: of this environment, of the machine, or one that comes from the index now; None where none does."""
    own = Path(sys.executable).with_name("uv")
    if own.is_file():
        return str(own)
    if (found := shutil.which("uv")) is not None:
        return found
    got = _pip("install", "--quiet", _UV, capture=True)
    return str(own) if got.returncode == 0 and own.is_file() else None


def _pip(*arguments: str, capture: bool = False) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=False, capture_output=capture, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

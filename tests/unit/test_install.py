import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy import install

LISTED = """\
global.cert='/etc/cert.pem'
global.extra-index-url='file:///one/simple file:///two/simple'
global.find-links='/elsewhere'
install.no-index='false'
:env:.find-links='/own/wheels'
"""


def test_uv_looks_where_pip_looks() -> None:
    settings = install.pip_settings(LISTED)
    assert settings["find-links"] == "/own/wheels", "the environment counts more than a file"
    assert install.uv_options(settings)[4:] == [
        *("--index", "file:///one/simple", "--index", "file:///two/simple", "--find-links", "/own/wheels"),
    ]
    assert install.uv_options(install.pip_settings("global.no-index='true'"))[-1] == "--no-index"


@pytest.mark.parametrize("uv_works", [True, False, None], ids=["uv", "uv fails", "no uv"])
def test_pip_takes_over(monkeypatch: pytest.MonkeyPatch, uv_works: bool | None) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        called.append(command)
        return subprocess.CompletedProcess(command, 0 if command[0] != "/uv" or uv_works else 1, "", "")

    monkeypatch.setattr(install.subprocess, "run", run)
    monkeypatch.setattr(install, "_uv", lambda: None if uv_works is None else "/uv")
    monkeypatch.delenv("INSTALLER", raising=False)
    assert install.main([".[demo]"]) == 0
    asked = {True: ["/uv"], False: ["/uv", sys.executable], None: [sys.executable]}[uv_works]
    assert [command[0] for command in called if "install" in command] == asked
    assert all("constraints.txt" in command for command in called if "install" in command)


def test_pip_is_taken_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTALLER", "pip")
    monkeypatch.setattr(install, "_uv", lambda: pytest.fail("uv was looked for"))
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 3, "", ""))
    assert install.main([".[demo]"]) == 3


def test_the_script_needs_nothing_that_is_not_installed_yet() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import ast, runpy; runpy.run_path('deploy/install.py')"],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0

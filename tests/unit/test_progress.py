"""Bars and waiting lines, as a terminal gets them."""

import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secateur.progress import begun, progress
from tests import warm

_BAR = """
import time
from secateur.progress import progress
with progress("evaluate", total=4, note="baseline", live={live}) as advance:
    for name in ("baseline", "r1", "r2"):
        time.sleep(0.3)
        advance(name)
"""
_WAIT = """
import time
from secateur.progress import waiting
with waiting("starting Prefect"):
    time.sleep(1.5)
"""
_QUIET = """
import io, time
from contextlib import redirect_stderr
from secateur.progress import progress
with progress("register", total=2, note="r1") as advance, redirect_stderr(io.StringIO()):
    time.sleep(0.5)
"""


_PASSES = """
import time
import numpy as np
from secateur.data.tokens import from_lists
from secateur.progress import progress
from secateur.training import batches
batches.PATIENCE_S = {patience}
rows = from_lists([[1, 2, 3]] * 8, labels=[0] * 8)
def one():
    for batch in batches.batches_of(rows, batch_size=2, pad_token_id=0):
        time.sleep(0.2)
if {within}:
    with progress("training", total=2) as advance:
        one()
        advance()
else:
    next(batches.batches_of(rows, batch_size=2, pad_token_id=0))
    one()
"""


_WITH_DVC = """
import os, time
from pathlib import Path
from dvc.repo import Repo
root = Path({root!r})
os.chdir(root)
Repo.init(no_scm=True).close()
(root / "dvc.yaml").write_text("stages: {{}}")
from secateur.progress import waiting
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.project import Project
store = DvcStore(Project(root))
from dvc.progress import Tqdm
with waiting("clean"):
    with Tqdm(total=2, desc="Collecting files and computing hashes") as bar:
        time.sleep(0.3)
        bar.update()
        time.sleep(0.3)
"""


def in_terminal(code: str) -> str:
    """Run Python with its stderr in a terminal of 80 columns, and return what was drawn."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with ThreadPoolExecutor() as pool:
        drawn = pool.submit(_read, leader)
        try:
            if warm.POSSIBLE:
                ended = warm.run("-c", [code], cwd=Path.cwd(), env=environment, errors=follower)
            else:
                ended = subprocess.run([sys.executable, "-c", code], stderr=follower, env=environment, check=False)
        finally:
            os.close(follower)
    assert ended.returncode == 0
    return drawn.result()


def _read(terminal: int) -> str:
    """Return what is drawn until the other end is closed."""
    drawn = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(terminal)
    return drawn.decode("utf-8")


@pytest.mark.parametrize("live", [True, False])
def test_a_bar_shows_steps_the_time_left_and_what_it_is_about(live: bool) -> None:
    drawn = in_terminal(_BAR.format(live=live))
    assert "evaluate" in drawn and "3/4" in drawn and "r2" in drawn
    assert re.search(r"\d:\d\d:\d\d", drawn), "the time left, once a step has ended"


def test_a_pass_over_rows_shows_a_bar_when_it_takes_long() -> None:
    """Whatever it is for: the teacher's logits, a calibration, scores after a cut."""
    drawn = in_terminal(_PASSES.format(patience=0.3, within=False))
    assert "tokens" in drawn and "12/24" in drawn
    assert re.search(r"\d:\d\d:\d\d", drawn)
    assert in_terminal(_PASSES.format(patience=60, within=False)) == ""


def test_a_pass_within_something_that_has_a_bar_shows_none_of_its_own() -> None:
    drawn = in_terminal(_PASSES.format(patience=0.3, within=True))
    assert "training" in drawn and "tokens" not in drawn


def test_a_wait_shows_how_long_it_has_gone_on() -> None:
    drawn = in_terminal(_WAIT)
    assert "starting Prefect" in drawn and "0:00:01" in drawn


def test_the_bars_of_dvc_do_not_run_into_ours(tmp_path: Path) -> None:
    drawn = in_terminal(_WITH_DVC.format(root=str(tmp_path)))
    assert "clean" in drawn and "hashes" not in drawn and "!" not in drawn


def test_a_bar_is_there_while_a_library_is_kept_quiet() -> None:
    assert "register" in in_terminal(_QUIET)


def test_a_log_gets_a_line_a_minute_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 30.0, 61.0, 90.0, 122.0, 200.0])
    monkeypatch.setattr("secateur.progress.time.monotonic", lambda: next(clock))
    with progress("latency table", total=200) as advance:
        for note in ("", "r1", "", "", ""):
            advance(note, steps=40)
    assert capsys.readouterr().err.splitlines() == [
        "latency table: 80 of 200, about 92 s left (r1)",
        "latency table: 160 of 200, about 30 s left",
    ]


def test_a_wait_within_a_bar_draws_nothing_over_it() -> None:
    within = _QUIET.replace("import progress", "import progress, waiting").replace(
        ", redirect_stderr(io.StringIO())", ', waiting("a process")'
    )
    drawn = in_terminal(within)
    assert "register" in drawn and "a process" not in drawn


def test_what_begins_is_said_in_a_log_too(capsys: pytest.CaptureFixture[str]) -> None:
    begun("tiny: version 3 is judged, on 90 test rows")
    assert capsys.readouterr().err == "tiny: version 3 is judged, on 90 test rows\n"


def test_nothing_is_drawn_where_nobody_watches() -> None:
    done = subprocess.run([sys.executable, "-c", _WAIT], capture_output=True, check=True)
    assert done.stderr == b"" and done.stdout == b""

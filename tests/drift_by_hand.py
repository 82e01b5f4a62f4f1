"""Drifted traffic becomes a run, to be run by hand: ``python -m tests.drift_by_hand FOLDER``.

A tiny project under ``schedule`` (a real Prefect server), its champion under ``serve --live``, and ``watch``. A window
of traffic like the training rows tells nobody; one of other texts raises Prefect's event, which starts a run: there are
no rows like them, so it says what is missing. Rows like them are added to the source: ``retrain --if-drifted`` builds
from them and judges. Prints what happened and how long it took, as JSON; fails when a promise is not kept.
"""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.schedule_by_hand import latest, next_run, no_child_is_left, start, wait_for
from tests.tiny import environment, make_project, sentences

_WINDOW = 200
_CHANGES = {
    "baseline.epochs": 4,
    "clean.near_duplicate_threshold": 0.99,
    "promote.min_macro_f1": 0.0,
    "promote.max_drop": 1.0,
    "serve.live_window": _WINDOW,
    "retrain.quality.max_lost_rows": 0.2,
}
_WORDS = ("zebra", "quark", "fjord", "vortex", "sphinx", "jigsaw", "waltz", "pyxis", "lynx", "crypt")


def _like_before(count: int, *, seed: int) -> list[tuple[str, str]]:
    return [(text, label) for text, label in sentences(count, seed=seed)]


def _others(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Return rows of the same labels in words that no training row has."""
    return [
        (" ".join([_WORDS[(row + at) % len(_WORDS)] for at in range(10)] + text.split()[:2] + [str(row)]), label)
        for row, (text, label) in enumerate(sentences(count, seed=seed))
    ]


def _ask(url: str, rows: list[tuple[str, str]]) -> None:
    for at in range(0, len(rows), 20):
        texts = [text for text, _ in rows[at : at + 20]]
        httpx.post(f"{url}/predict", json={"texts": texts}, timeout=60).raise_for_status()


def _live(root: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((root / "reports" / "live.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _windows(root: Path, count: int) -> Any:
    windows = _live(root).get("windows", [])
    return windows[:count] if len(windows) >= count else None


def _drifted(window: dict[str, Any]) -> list[str]:
    return [name for name, psi in window["psi"].items() if psi > window["limits"][name]]


def _serve(root: Path) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable,
        "-m",
        "secateur.cli",
        "serve",
        "models:/tiny@champion",
        "--live",
        "--port",
        "0",
        "--json",
    ]
    log = (root.parent / "serve.log").open("w")
    server = subprocess.Popen(command, cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True)
    assert server.stdout is not None
    return server, json.loads(server.stdout.readline())["url"]


def main(folder: Path) -> None:
    """Go through a drift, from the first request to the model that has learned from it."""
    root = make_project(folder / "project", changes=_CHANGES)
    happened: dict[str, Any] = {}
    running = [start(root, "schedule", "--every", "1d")]
    try:
        happened["first run"] = next_run(root, "the first run", "promoted")
        running.append(start(root, "watch", "--every", "1s"))
        wait_for("the watch", lambda: "watching" in (root.parent / "watch.log").read_text())
        server, url = _serve(root)
        running.append(server)

        _ask(url, _like_before(_WINDOW, seed=11))
        [usual] = wait_for("a window of usual traffic", lambda: _windows(root, 1))
        happened["usual traffic"] = {"texts": usual["texts"], "drifted": _drifted(usual)}
        assert not _drifted(usual), usual

        before = latest(root)["started"]
        began = time.time()
        _ask(url, _others(_WINDOW, seed=12))
        window = wait_for("a window of other traffic", lambda: _windows(root, 2))[1]
        happened["other traffic"] = {"drifted": _drifted(window), "psi": window["psi"]}
        assert _drifted(window), window
        done = wait_for("the run that the event starts", lambda: (now := latest(root))["started"] > before and now)
        happened["event"] = {
            "seconds from the first text to the end of the run": round(time.time() - began, 1),
            **{key: done[key] for key in ("action", "cause", "reason")},
        }
        assert done["cause"].startswith("event: traffic drifted"), done

        with (root / "rows.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(_others(120, seed=13))
        wait_for("the run for the changed source", lambda: latest(root)["started"] > done["started"])
        happened["rows like them"] = {key: latest(root)[key] for key in ("action", "cause", "reason", "seconds")}
        assert latest(root)["action"] in ("promoted", "held"), latest(root)
        command = [sys.executable, "-m", "secateur.cli", "retrain", "--if-drifted", "--json"]
        asked = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
        happened["retrain --if-drifted"] = {"exit code": asked.returncode, "said": (asked.stdout + asked.stderr)[-400:]}
        happened["model that answers"] = httpx.get(f"{url}/model", timeout=60).json()["version"]
        _ask(url, _others(_WINDOW, seed=14))
        if happened["rows like them"]["action"] == "promoted":
            last = wait_for("a window of the new champion", lambda: _windows(root, 1))[0]
            happened["the same traffic, new champion"] = {"drifted": _drifted(last), "psi": last["psi"]}
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)
        sys.stdout.write(json.dumps(happened, indent=2) + "\n")
    no_child_is_left(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

"""Proof that a model loads and answers where nothing is loaded yet: a process of its own does it.

What it loads may come from a store that others can write to. So it is isolated: it gets no secrets and no home, works
in an empty folder, reads and writes no bytecode beside what it loads, and opens nothing but a copy that was verified.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import secateur
from secateur.errors import CheckFailed, NotJudged, SecateurError
from secateur.processes.garbage import SELDOM
from secateur.progress import waiting
from secateur.registry.model_source import Resolved, problem_of_script

SMOKE: Mapping[str, Any] = {"max_tokens": 16, "temperature": 0.0, "top_p": 1.0, "seed": 0}
"""What a generator is asked for; a classifier takes no parameters."""

TOLERANCE = 1e-4
"""Of a probability: another process may use other threads, which round sums differently."""

_ENDED_BY_OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


_START = (
    f"import gc, json, sys; gc.set_threshold{SELDOM}; request = json.load(sys.stdin); "
    "sys.path[:] = request['path']; from secateur.registry.fresh_process import main; code = main(request); "
    "gc.freeze(); raise SystemExit(code)"
)

_KEPT = frozenset({"PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "TOKENIZERS_PARALLELISM"})
_KEPT_PREFIXES = ("LC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ATEN_", "ONEDNN_", "DNNL_", "CUDA_", "MALLOC_")


@dataclass(frozen=True)
class Answer:
    """What a model said about one text.

    Attributes:
        label: that it found; of a generator, the text that it wrote.
        score: probability of the label; of a generator, the geometric mean of its probabilities of the given text's
            tokens, which MLflow does not tell: None.
    """

    label: str
    score: float | None


def answers_of_folder(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
    """Load a folder in a fresh process and predict.

    Raises:
        CheckFailed: it does not load, or answers with something that is no probability.
        NotJudged: it does not answer in time.
    """
    return _ask({"folder": str(folder), "texts": list(texts), "num_threads": num_threads}, timeout_s=timeout_s)


def answers_of_version(resolved: Resolved, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
    """Load a verified version in a fresh process as anybody would, by MLflow, and predict.

    Raises:
        CheckFailed: it has a script that is none of ours, or does not load.
        NotJudged: it does not answer in time.
    """
    assert resolved.root is not None
    problem = problem_of_script(resolved)
    if problem is not None:
        raise CheckFailed(f"{resolved.label} is not loaded by MLflow: {problem}")
    return _ask({"version": str(resolved.root), "texts": list(texts), "num_threads": num_threads}, timeout_s=timeout_s)


def require_equal(found: Sequence[Answer], expected: Sequence[Answer], *, what: str) -> None:
    """Compare answers.

    Raises:
        CheckFailed: a label differs, or a probability by more than ``TOLERANCE``.
    """
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        unlike = one.score is not None and other.score is not None and abs(one.score - other.score) > TOLERANCE
        if one.label != other.label or unlike:
            raise CheckFailed(f"{what} answers text {index} with {_said(one)}, where it was judged by {_said(other)}")


def _said(answer: Answer) -> str:
    return answer.label if answer.score is None else f"{answer.label} ({answer.score:.4f})"


def _ask(request: Mapping[str, Any], *, timeout_s: float) -> list[Answer]:
    with waiting("load and answer in a fresh process"), tempfile.TemporaryDirectory(prefix="secateur-") as empty:
        finished = _run({**request, "path": _import_path()}, Path(empty), timeout_s=timeout_s)
    if -finished.returncode in _ENDED_BY_OTHERS:
        name = signal.Signals(-finished.returncode).name
        raise NotJudged(f"not judged: the fresh process was ended by {name}, as when memory runs out; ask again")
    lines = finished.stdout.strip().splitlines()
    if finished.returncode != 0 or not lines:
        reason = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
        raise CheckFailed(f"does not load in a fresh process: {reason}")
    found = [Answer(**entry) for entry in json.loads(lines[-1])]
    if len(found) != len(request["texts"]):
        raise CheckFailed(f"answered {len(found)} of {len(request['texts'])} texts")
    for answer in found:
        if answer.score is not None and not (isfinite(answer.score) and 0.0 <= answer.score <= 1.0 + TOLERANCE):
            raise CheckFailed(f"answers with {answer.label} at {answer.score}, which is no probability")
    return found


def _run(request: Mapping[str, Any], folder: Path, *, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [sys.executable, "-I", "-B", "-c", _START],
            input=json.dumps(request),
            env=_environment(folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotJudged(
            f"not judged: no answer from a fresh process within {timeout_s:g} s, as on a busy machine; ask again, or "
            "raise promote.smoke_timeout_s"
        ) from error


def _import_path() -> list[str]:
    """Return where this process imports from, our own code first; the current folder is no such place."""
    root, here = str(Path(secateur.__file__).parents[1]), str(Path.cwd())
    return [root, *(part for part in sys.path if Path(part).is_absolute() and part not in (root, here))]


def _environment(folder: Path) -> dict[str, str]:
    """Return what decides how numbers come out, and nothing that opens a door: no keys, no addresses, no home."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    own = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    return kept | own


def _answer(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(request["num_threads"])
    texts: list[str] = request["texts"]
    if "folder" in request:
        return ask_folder(Path(request["folder"]), texts)
    from secateur.inference import prediction  # noqa: F401  what loads it, with the bytecode that is there
    from secateur.registry.mlflow_records import predict_by_mlflow

    rows = predict_by_mlflow(Path(request["version"]), texts, params=SMOKE, bytecode=Path.cwd() / "bytecode")
    # The first column is what the model says, whatever its kind calls it.
    return [{"label": str(next(iter(row.values()))), "score": row.get("score")} for row in rows]


def ask_folder(folder: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Load a folder in this process, and return the fields of an ``Answer`` per text."""
    from secateur.kinds.registry import DEFAULT, kind_named
    from secateur.models.card import Card

    return kind_named(Card.read(folder).task or DEFAULT).probe_model(folder, texts, parameters=SMOKE)


def main(request: Mapping[str, Any]) -> int:
    """Answer a request on standard output; return the exit code."""
    try:
        found = _answer(request)
    except SecateurError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found) + "\n")
    return 0

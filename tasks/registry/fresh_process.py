"""Proof that a model loads and answers where nothing is loaded yet: a process of its own does it.

``python -m tasks.registry.fresh_process`` reads a request as JSON from standard input and writes the answers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import secateur
from secateur.errors import CheckFailed, SecateurError
from tasks.project import Project

TOLERANCE = 1e-4
"""Of a probability: another process may use other threads, which round sums differently."""


@dataclass(frozen=True)
class Answer:
    """What a model said about one text: the label and its probability."""

    label: str
    score: float


def answers_of_folder(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
    """Load a folder in a fresh process and predict.

    Raises:
        CheckFailed: it does not load, does not answer in time, or answers with something that is no probability.
    """
    return _ask({"folder": str(folder), "texts": list(texts), "num_threads": num_threads}, timeout_s=timeout_s)


def answers_of_champion(
    project: Project, reference: str, texts: Sequence[str], *, version: str, num_threads: int, timeout_s: float
) -> list[Answer]:
    """Load ``models:/NAME@champion`` in a fresh process as anybody would, by MLflow, and predict.

    Every digest is compared first.

    Raises:
        CheckFailed: the alias does not lead to this version, a file is not the one registered, or the model does not
            load or answer in time.
    """
    request = {"root": str(project.root), "reference": reference, "version": version}
    return _ask({**request, "texts": list(texts), "num_threads": num_threads}, timeout_s=timeout_s)


def require_equal(found: Sequence[Answer], expected: Sequence[Answer], *, what: str) -> None:
    """Compare answers.

    Raises:
        CheckFailed: a label differs, or a probability by more than ``TOLERANCE``.
    """
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        if one.label != other.label or abs(one.score - other.score) > TOLERANCE:
            raise CheckFailed(
                f"{what} answers text {index} with {one.label} ({one.score:.4f}), "
                f"where it was judged by {other.label} ({other.score:.4f})"
            )


def _ask(request: Mapping[str, Any], *, timeout_s: float) -> list[Answer]:
    root = str(Path(secateur.__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "tasks.registry.fresh_process"],
            input=json.dumps(request),
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"no answer from a fresh process within {timeout_s:g} s (promote.smoke_timeout_s)") from error
    lines = finished.stdout.strip().splitlines()
    if finished.returncode != 0 or not lines:
        reason = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
        raise CheckFailed(f"does not load in a fresh process: {reason}")
    found = [Answer(**entry) for entry in json.loads(lines[-1])]
    if len(found) != len(request["texts"]):
        raise CheckFailed(f"answered {len(found)} of {len(request['texts'])} texts")
    for answer in found:
        if not (isfinite(answer.score) and 0.0 <= answer.score <= 1.0 + TOLERANCE):
            raise CheckFailed(f"answers with {answer.label} at {answer.score}, which is no probability")
    return found


def _answer(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(request["num_threads"])
    texts: list[str] = request["texts"]
    if "folder" in request:
        from secateur.evaluation.prediction import Predictor

        found = Predictor.load(request["folder"]).predict(texts)
        return [{"label": prediction.label, "score": float(prediction.score)} for prediction in found]
    from tasks.mlflow_records import predict_by_mlflow
    from tasks.mlflow_store import ModelRegistry
    from tasks.model_source import resolve

    project, reference = Project(Path(request["root"])), request["reference"]
    registry = ModelRegistry(project)
    resolved = resolve(project, reference, registry=registry)
    if resolved.version != request["version"]:
        raise CheckFailed(f"{reference} leads to version {resolved.version}, not to {request['version']}")
    return predict_by_mlflow(registry, reference, texts)


def _main() -> int:
    try:
        found = _answer(json.load(sys.stdin))
    except SecateurError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(_main())

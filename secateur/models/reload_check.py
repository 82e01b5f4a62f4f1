"""Proof that a checkpoint loads again: a fresh process computes the logits of fixed ids.

``python -m secateur.models.reload_check`` reads lines of JSON, ``{"folder": ..., "num_threads": ...}``, and answers
each with ``{"logits": ...}`` or ``{"error": ...}``. Its imports take 5 s; so it stays until its input ends, and
every folder is loaded by a fork of it, which has never loaded another.
"""

import copy
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import PreTrainedModel

import secateur
from secateur.errors import CheckpointError, SecateurError
from secateur.models.token_types import TYPES, tells_texts_apart

_ROWS, _LENGTH = 2, 8
_TIMEOUT_S = 600
_ASKING = threading.Lock()


def check_reload(model: PreTrainedModel, folder: Path) -> None:
    """Compare the model's logits with those of the checkpoint in a fresh process, bit by bit.

    Both run on the CPU with the same number of threads: another count may give other bits.

    Raises:
        CheckpointError: the process failed, or the logits differ.
    """
    expected = fixed_logits(model)
    found = _logits_of_fresh_process(folder)
    if found != expected:
        difference = (torch.tensor(found) - torch.tensor(expected)).abs().max().item()
        raise CheckpointError(
            f"{folder} loads to other logits than the saved model had (largest difference {difference:.2g})"
        )


def fixed_logits(model: PreTrainedModel) -> list[list[float]]:
    """Return the logits of fixed token ids on the CPU, in eval mode; the model is left as it was."""
    if model.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    was_training = model.training
    ids = (torch.arange(_ROWS * _LENGTH).reshape(_ROWS, _LENGTH) * 7919 + 11) % model.config.vocab_size
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **_types_of(ids, model)).logits
    finally:
        model.train(was_training)
    if logits.dim() > 2:  # of a language model, every token's: those behind a few and behind all of them will do
        logits = logits[:, [2, -1]].flatten(start_dim=1)
    # float32 -> float64 -> JSON -> float64 keeps every bit.
    rows: list[list[float]] = logits.double().tolist()
    return rows


def _types_of(ids: torch.Tensor, model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the types of two texts for a model that has them: none of its weights may be overlooked."""
    if not tells_texts_apart(model.config):
        return {}
    return {TYPES: (torch.arange(ids.shape[1]) >= ids.shape[1] // 2).long().expand_as(ids)}


def _logits_of_fresh_process(folder: Path) -> list[list[float]]:
    answer = _ask({"folder": str(folder.resolve()), "num_threads": torch.get_num_threads()})
    if "error" in answer:
        raise CheckpointError(f"{folder} does not load in a fresh process: {answer['error']}")
    rows: list[list[float]] = answer["logits"]
    return rows


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    """Send a line to the process, and return its answer; one that has ended is started anew."""
    with _ASKING:
        process = _process()
        if process.poll() is not None:
            _process.cache_clear()
            process = _process()
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": f"it ended with {process.wait()}"}
    return answer


@functools.cache
def _process() -> subprocess.Popen[str]:
    root = str(Path(secateur.__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "secateur.models.reload_check"],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the process that asks; this one ends with its input
        text=True,
    )


def _main() -> None:
    import secateur.models.checkpoint  # noqa: F401  imported once, for all forks; the loader imports this module

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        question = json.loads(line)
        if sys.platform != "linux":  # elsewhere a fork of a process that has loaded libraries may crash
            _say(_answer(**question), answers)
            return
        if (child := os.fork()) == 0:
            signal.alarm(_TIMEOUT_S)
            _say(_answer(**question), answers)
            os._exit(0)
        if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            _say({"error": f"it ended with {status}"}, answers)


def _answer(*, folder: str, num_threads: int) -> dict[str, Any]:
    from secateur.models.checkpoint import load

    torch.set_num_threads(num_threads)
    try:
        return {"logits": fixed_logits(load(Path(folder)))}
    except SecateurError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  whatever it is, this checkpoint does not load
        return {"error": f"{type(error).__name__}: {error}"}


def _say(answer: dict[str, Any], to: TextIO) -> None:
    to.write(json.dumps(answer) + "\n")
    to.flush()


if __name__ == "__main__":
    _main()

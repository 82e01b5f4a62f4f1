"""Proof that a checkpoint loads again: a fresh process computes the logits of fixed ids.

``python -m secateur.models.reload_check FOLDER NUM_THREADS`` writes them as one line of JSON.
"""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from transformers import PreTrainedModel

import secateur
from secateur.errors import CheckpointError, SecateurError

_ROWS, _LENGTH = 2, 8
_TIMEOUT_S = 600.0


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
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    finally:
        model.train(was_training)
    if logits.dim() > 2:  # of a language model, every token's: those behind a few and behind all of them will do
        logits = logits[:, [2, -1]].flatten(start_dim=1)
    # float32 -> float64 -> JSON -> float64 keeps every bit.
    rows: list[list[float]] = logits.double().tolist()
    return rows


def _logits_of_fresh_process(folder: Path) -> list[list[float]]:
    root = str(Path(secateur.__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    finished = subprocess.run(
        [sys.executable, "-m", "secateur.models.reload_check", str(folder), str(torch.get_num_threads())],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    lines = finished.stdout.strip().splitlines()
    if finished.returncode != 0 or not lines:
        reason = (finished.stderr.strip().splitlines() or ["no output"])[-1]
        raise CheckpointError(f"{folder} does not load in a fresh process: {reason}")
    rows: list[list[float]] = json.loads(lines[-1])
    return rows


def _main(folder: str, num_threads: str) -> int:
    from secateur.models.checkpoint import load  # the loader imports this module

    torch.set_num_threads(int(num_threads))
    try:
        logits = fixed_logits(load(folder))
    except SecateurError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(logits) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))

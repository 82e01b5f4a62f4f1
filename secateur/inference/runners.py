"""One way to run a model, whatever runs it: arrays of token ids in, logits out."""

import hashlib
import inspect
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, final

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

import secateur.formats.graph_editing
import secateur.formats.onnx
import secateur.formats.outliers
import secateur.formats.plain_operators
import secateur.formats.tracing
from secateur.config.base import Runtime
from secateur.errors import CheckpointError, ModelError
from secateur.files import sha256_files
from secateur.formats.onnx import ONNX_MODEL, export_onnx, quantize_onnx
from secateur.inference.language_model import LanguageModel, Reader, open_language_model, open_session
from secateur.models.card import CARD, Card, verify
from secateur.models.checkpoint import load
from secateur.models.construction import read_config
from secateur.models.folders import CONFIG, WEIGHTS, card_of, weight_files
from secateur.models.heads import head_of
from secateur.models.token_types import TYPES

_SOURCES = (
    secateur.formats.graph_editing,
    secateur.formats.onnx,
    secateur.formats.outliers,
    secateur.formats.plain_operators,
    secateur.formats.tracing,
)
"""What decides the bytes of an export."""

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class Runner(Protocol):
    """A loaded model."""

    def __call__(self, input_ids: Ids, attention_mask: Ids, token_types: Ids | None = None, /) -> Logits:
        """Return ``(batch, labels)`` logits.

        Args:
            input_ids: (batch, length).
            attention_mask: 1 = token, 0 = padding, (batch, length).
            token_types: 1 = token of the second text of a pair, (batch, length); None = there is none.
        """
        ...


@final
class TorchRunner:
    """PyTorch in fp32. The number of threads is the process's own: ``torch.set_num_threads``."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model.float().eval()

    def __call__(self, input_ids: Ids, attention_mask: Ids, token_types: Ids | None = None, /) -> Logits:
        """See ``Runner``."""
        typed = {} if token_types is None else {TYPES: torch.from_numpy(token_types)}
        ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
        with torch.inference_mode():
            output = self._model(input_ids=ids, attention_mask=mask, **typed)
        logits: Logits = output.logits.float().numpy()
        return logits


@final
class StepRunner:
    """One cached step of a generator: what a generated token costs.

    A call takes rows without padding. All of their tokens but the last are read once and stay in the cache; every call
    with as many rows and tokens computes the last one. So only the first call depends on the tokens before it.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._readers: dict[tuple[int, ...], Reader] = {}

    def __call__(self, input_ids: Ids, attention_mask: Ids, token_types: Ids | None = None, /) -> Logits:
        """Return the logits of the next token, (batch, vocabulary)."""
        ids = torch.from_numpy(input_ids)
        if input_ids.shape not in self._readers:
            self._readers[input_ids.shape] = self._read(ids[:, :-1])
        logits: Logits = self._readers[input_ids.shape](ids[:, -1:], keep=False).numpy()
        return logits

    def _read(self, ids: torch.Tensor) -> Reader:
        reader = self._model.open()
        if ids.shape[1]:
            reader(ids)
        return reader


@final
class OnnxRunner:
    """ONNX Runtime on the CPU, fp32 or int8 as the file says."""

    def __init__(self, file: Path, *, num_threads: int) -> None:
        self._session = open_session(file, num_threads=num_threads)
        self._is_typed = any(given.name == TYPES for given in self._session.get_inputs())

    def __call__(self, input_ids: Ids, attention_mask: Ids, token_types: Ids | None = None, /) -> Logits:
        """See ``Runner``.

        Raises:
            ModelError: there are types, and the graph was exported for one text.
        """
        fed = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._is_typed:
            fed[TYPES] = np.zeros_like(input_ids) if token_types is None else token_types
        elif token_types is not None:
            raise ModelError("this ONNX graph reads one text, and was given two; the model in PyTorch reads both")
        logits: Logits = self._session.run(None, fed)[0]
        return logits


def open_runner(checkpoint: Path, *, runtime: Runtime, num_threads: int, workdir: Path) -> Runner:
    """Load a checkpoint into a runtime.

    Args:
        checkpoint: a checkpoint folder.
        runtime: ``torch``, ``onnx`` or ``onnx-int8``.
        num_threads: threads of ONNX Runtime; torch has one setting per process.
        workdir: see ``exported_folder``.

    Raises:
        CheckpointError: the folder is no checkpoint, or damaged.
        ModelError: the export does not agree with the checkpoint.
    """
    folder = exported_folder(checkpoint, runtime=runtime, workdir=workdir)
    return open_folder(folder, runtime=runtime, num_threads=num_threads)


def open_folder(folder: Path, *, runtime: Runtime, num_threads: int) -> Runner:
    """Load what ``exported_folder`` returned; a generator runs step by step."""
    if head_of(read_config(folder)).per_token:
        return StepRunner(open_language_model(folder, runtime=runtime, num_threads=num_threads))
    if runtime == "torch":
        return TorchRunner(load(folder))
    return OnnxRunner(folder / ONNX_MODEL, num_threads=num_threads)


def held_runtime(folder: Path) -> Runtime:
    """Return what runs the model in a folder.

    Raises:
        CheckpointError: it holds no model.
    """
    if (folder / ONNX_MODEL).is_file() and not (folder / WEIGHTS).is_file():
        return "onnx-int8" if Card.read(folder).runtime == "onnx-int8" else "onnx"
    if (folder / CARD).is_file() and not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder} holds neither {WEIGHTS} nor {ONNX_MODEL}")
    weight_files(folder)
    return "torch"


def rows_per_call(runtime: Runtime, *, batch_size: int) -> int:
    """Return how many rows may share a call without telling each other anything.

    Int8 takes one scale of activations for a whole call, so its rows are called alone wherever a model is scored,
    judged or served. On one thread that costs nothing: 0.8 ms a row, 0.9 in calls of 32 mixed lengths, 0.65 of equal
    ones.
    """
    return 1 if runtime == "onnx-int8" else batch_size


def exported_folder(checkpoint: Path, *, runtime: Runtime, workdir: Path) -> Path:
    """Return the folder of a checkpoint in the form that a runtime reads; for torch that is the checkpoint.

    Args:
        checkpoint: a checkpoint folder.
        runtime: ``torch``, ``onnx`` or ``onnx-int8``.
        workdir: exports are kept here and found again while weights, exporter and its libraries are the same.

    Raises:
        CheckpointError: the folder is no checkpoint, or damaged.
        ModelError: the export does not agree with the checkpoint.
    """
    if runtime == "torch":
        return checkpoint
    name = export_name(checkpoint)
    fp32 = workdir / f"{name}-onnx"
    if not _is_intact(fp32):
        export_onnx(checkpoint, fp32)
    if runtime == "onnx":
        return fp32
    int8 = workdir / f"{name}-onnx-int8"
    if not _is_intact(int8):
        quantize_onnx(fp32, int8)
    return int8


def export_name(checkpoint: Path) -> str:
    """Return how the exports of a checkpoint are named: by its weights and by what exports them."""
    digest = card_of(checkpoint, verified=True).weights_sha256 or sha256_files(
        [checkpoint / CONFIG, *weight_files(checkpoint)]
    )
    return f"{digest[:16]}-{_exporter()}"


@cache
def _exporter() -> str:
    # An export made by other code must not be taken for today's.
    versions = [f"{package}=={version(package)}" for package in ("torch", "onnx", "onnxscript", "onnxruntime")]
    sources = [inspect.getsource(module) for module in _SOURCES]
    return hashlib.sha256("\n".join([*sources, *versions]).encode()).hexdigest()[:8]


def _is_intact(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True

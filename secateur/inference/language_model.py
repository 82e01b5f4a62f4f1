"""Generators in the runtimes that write with them: new tokens in, logits out, keys and values of the old ones kept.

Rows are of equal length, so nothing is padded and no mask can be wrong; only whole texts are scored with padding.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from secateur.config.base import Runtime
from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.formats.onnx import ONNX_MODEL
from secateur.formats.tracing import INPUTS, KEPT, LOGITS, PAST, PRESENT
from secateur.inference.precision import autocast
from secateur.models.checkpoint import load
from secateur.models.construction import read_config
from secateur.models.folders import card_of


class Reader(Protocol):
    """Some rows that are read at once, and what was kept of them."""

    def __call__(self, ids: Tensor, *, keep: bool = True) -> Tensor:
        """Read on.

        Args:
            ids: new tokens, (rows, new), at least one per row.
            keep: False forgets them again, so that the same call gives the same answer.

        Returns:
            Logits behind the last token, (rows, vocabulary) fp32 on the CPU.
        """
        ...


class LanguageModel(Protocol):
    """A generator in the form that a runtime reads.

    Attributes:
        vocab_size: tokens that it tells apart.
    """

    vocab_size: int

    def open(self) -> Reader:
        """Return a reader that has read nothing yet."""
        ...

    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the logits behind every token of whole rows, padded on the right: (rows, tokens, vocabulary) fp32."""
        ...


@final
class TorchLanguageModel:
    """In PyTorch; whole rows are scored in ``precision``, text is written in that of the weights."""

    def __init__(self, model: PreTrainedModel, *, precision: Precision = "fp32") -> None:
        self._model = model.eval()
        self._precision = precision
        self.vocab_size = int(model.config.vocab_size)

    def open(self) -> Reader:
        """See ``LanguageModel``."""
        return _TorchReader(self._model)

    @torch.inference_mode()
    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See ``LanguageModel``; the result stays on the device of the model."""
        device = self._model.device
        with autocast(self._precision, device=device):
            found = self._model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits
        return found.float()  # type: ignore[no-any-return]  # transformers does not type its outputs


class _TorchReader:
    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config)
        # Without this a sliding window drops old tokens at once, and new ones could not be taken back.
        self._cache.activate_past_recording()

    @torch.inference_mode()
    def __call__(self, ids: Tensor, *, keep: bool = True) -> Tensor:
        output = self._model(
            input_ids=ids.to(self._model.device), past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        self._cache.crop(0 if keep else -ids.shape[1])
        return output.logits[:, -1].float().cpu()  # type: ignore[no-any-return]  # transformers does not type its outputs


@final
class OnnxLanguageModel:
    """In ONNX Runtime on the CPU: the step that ``secateur.formats`` writes."""

    def __init__(self, file: Path, *, num_threads: int = 1, vocab_size: int | None = None) -> None:
        """Open a graph; the config beside it says how many tokens it tells apart, where nobody else does."""
        self._session = open_session(file, num_threads=num_threads)
        self.vocab_size = int(read_config(file.parent).vocab_size) if vocab_size is None else vocab_size

    def open(self) -> Reader:
        """See ``LanguageModel``."""
        return _OnnxReader(self._session)

    def logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See ``LanguageModel``."""
        rows, length = ids.shape
        feed = {
            INPUTS[0]: ids.numpy(),
            INPUTS[1]: mask.numpy(),
            KEPT: np.arange(length, dtype=np.int64),
            **_nothing_read(self._session, rows=rows),
        }
        return torch.from_numpy(self._session.run([LOGITS], feed)[0])


class _OnnxReader:
    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._names = [output.name for output in session.get_outputs()]
        self._past: Mapping[str, npt.NDArray[np.float32]] = {}
        self._length = 0

    def __call__(self, ids: Tensor, *, keep: bool = True) -> Tensor:
        rows, new = ids.shape
        feed = {
            INPUTS[0]: ids.numpy(),
            INPUTS[1]: np.ones((rows, self._length + new), dtype=np.int64),
            KEPT: np.array([new - 1]),
            **(self._past or _nothing_read(self._session, rows=rows)),
        }
        logits, *present = self._session.run(self._names, feed)
        if keep:
            self._past = {
                name.replace(PRESENT, PAST): state for name, state in zip(self._names[1:], present, strict=True)
            }
            self._length += new
        return torch.from_numpy(logits[:, -1])


def open_language_model(folder: Path, *, runtime: Runtime, num_threads: int = 1) -> LanguageModel:
    """Load a folder whose files match its card, into the runtime that it is for.

    Args:
        folder: a checkpoint of a generator, or an ONNX export of one.
        runtime: what the folder holds.
        num_threads: threads of ONNX Runtime; torch has one setting per process.

    Raises:
        CheckpointError: the folder is damaged.
    """
    card_of(folder)
    if runtime == "torch":
        return TorchLanguageModel(load(folder, verify=False).float())
    return OnnxLanguageModel(folder / ONNX_MODEL, num_threads=num_threads)


def require_numbers(logits: npt.NDArray[np.float32]) -> None:
    """Refuse what nobody could choose by.

    Raises:
        ModelError: there is NaN or infinity among the logits.
    """
    if not np.isfinite(logits).all():
        raise ModelError(
            "the model answers with NaN or infinity: its weights hold some, or are too large to compute with; one "
            "whose weights are finite and of usual size would work"
        )


def open_session(file: Path, *, num_threads: int) -> onnxruntime.InferenceSession:
    """Load a graph on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    # Threads that wait actively after a run would take the cores from the next model of an interleaved bench.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _nothing_read(session: onnxruntime.InferenceSession, *, rows: int) -> dict[str, npt.NDArray[np.float32]]:
    """Return keys and values of no tokens; how many heads and features they have, the graph says."""
    return {
        given.name: np.zeros((rows, given.shape[1], 0, given.shape[3]), np.float32)
        for given in session.get_inputs()
        if given.name.startswith(PAST)
    }

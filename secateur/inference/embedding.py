"""Vectors for texts, from a checkpoint or an ONNX export."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from secateur.config.base import Runtime
from secateur.data.encoding import long_texts_of
from secateur.errors import CheckpointError
from secateur.formats.onnx import ONNX_MODEL
from secateur.inference.encoding import Encoder
from secateur.inference.language_model import require_numbers
from secateur.inference.runners import OnnxRunner, Runner, TorchRunner, held_runtime, rows_per_call
from secateur.models.checkpoint import kind_of_folder, load
from secateur.models.folders import card_of
from secateur.progress import PATIENCE_S, Advance, progress


@dataclass(frozen=True)
class Embedded:
    """What a model says about some texts.

    Attributes:
        vectors: of length 1, (N, E) fp32.
        cut: whether a text is longer than the model reads, (N,).
    """

    vectors: npt.NDArray[np.float32]
    cut: tuple[bool, ...]


@final
@dataclass(frozen=True)
class Embedder:
    """An embedding model with what prepares its texts."""

    runner: Runner
    runtime: Runtime
    encoder: Encoder
    labels: tuple[str, ...] = ()

    @property
    def max_length(self) -> int:
        """Tokens that it reads, at most."""
        return self.encoder.max_length

    @classmethod
    def load(cls, path: str | Path, *, num_threads: int = 1, verify: bool = True) -> "Embedder":
        """Load a folder whose files match its card, or one without a card that somebody saved.

        Args:
            path: a checkpoint, or an ONNX export of one.
            num_threads: threads of ONNX Runtime; torch has one setting per process.
            verify: False when somebody compared the files with their digests already.

        Raises:
            CheckpointError: the folder is neither, is damaged, or holds a model of another kind.
        """
        folder = Path(path)
        card = card_of(folder, verified=not verify)
        kind = kind_of_folder(folder, card)
        if kind.route != "embed":
            raise CheckpointError(f"{folder} holds a model for {kind.name}, which gives no vectors")
        encoder, held = Encoder.of(folder, card), held_runtime(folder)
        if long_texts_of(encoder.tokenizer) == "windows":
            raise CheckpointError(f"the tokenizer of {folder} says long_texts='windows'; a vector is that of one text")
        if held == "torch":
            runner: Runner = TorchRunner(load(folder, verify=False))
        else:
            runner = OnnxRunner(folder / ONNX_MODEL, num_threads=num_threads)
        return cls(runner=runner, runtime=held, encoder=encoder)

    def embed(self, texts: Sequence[str], *, batch_size: int = 32, advance: Advance | None = None) -> Embedded:
        """Embed texts; the order is kept, longer texts are cut.

        What a text is told does not depend on its company, see ``rows_per_call``.

        Args:
            texts: at least one.
            batch_size: texts per call, at most.
            advance: is told of texts that have their answer; None shows a bar of its own.

        Raises:
            ModelError: the model gives no numbers, or knows fewer tokens than its tokenizer.
        """
        found: dict[int, npt.NDArray[np.float32]] = {}
        cut: dict[int, bool] = {}
        calls = self.encoder.calls(texts, batch_size=rows_per_call(self.runtime, batch_size=batch_size))
        own = progress("embed", total=len(texts), after_s=PATIENCE_S) if advance is None else nullcontext(advance)
        with own as tell:
            for call in calls:
                vectors = self.runner(call.ids, call.mask, call.types)
                require_numbers(vectors)
                found.update(zip(call.places, vectors, strict=True))
                cut.update(zip(call.places, call.cut, strict=True))
                tell(steps=len(call.places))
        places = range(len(texts))
        return Embedded(np.stack([found[place] for place in places]), tuple(cut[place] for place in places))

"""Labels for texts, from a checkpoint or an ONNX export."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from secateur.config.base import Runtime
from secateur.data.text_rules import TextRules, clean_texts
from secateur.errors import CheckpointError
from secateur.formats.onnx import ONNX_MODEL
from secateur.inference.runners import Logits, OnnxRunner, Runner, TorchRunner, held_runtime
from secateur.models.checkpoint import kind_of_folder, load, load_tokenizer
from secateur.models.construction import read_config
from secateur.models.families import family_of
from secateur.models.folders import card_of
from secateur.models.vocabulary import require_known_ids
from secateur.progress import PATIENCE_S, progress

_PADDED = 1.25
"""How many times as long as the shortest row of a call its longest may be."""


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text.

    Attributes:
        label: the most probable label; of equal ones, the first.
        score: its probability.
        scores: probability of every label, summing to 1.
    """

    label: str
    score: float
    scores: Mapping[str, float]


@final
@dataclass(frozen=True)
class Predictor:
    """A model with its tokenizer and the names of its labels."""

    runner: Runner
    runtime: Runtime
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    max_length: int
    text_rules: TextRules | None
    pad_token_id: int
    vocab_size: int

    @classmethod
    def load(
        cls, path: str | Path, *, runtime: Runtime | None = None, num_threads: int = 1, verify: bool = True
    ) -> "Predictor":
        """Load a folder whose files match its card, or one without a card that somebody saved.

        Args:
            path: a checkpoint, or an ONNX export of one.
            runtime: None takes what the folder holds.
            num_threads: threads of ONNX Runtime; torch has one setting per process.
            verify: False when somebody compared the files with their digests already.

        Raises:
            CheckpointError: the folder is neither, is damaged, or does not hold what the runtime needs.
        """
        folder = Path(path)
        card = card_of(folder, verified=not verify)
        config = read_config(folder)
        if kind_of_folder(folder, card).route != "predict":
            found = "holds a generator, which knows no labels"
            raise CheckpointError(f"{folder} {found}; `secateur generate` lets it write")
        tokenizer = load_tokenizer(folder)
        limits = (card.max_length, tokenizer.model_max_length, family_of(config).max_tokens(config))
        held = held_runtime(folder)
        if runtime not in (None, held):
            raise CheckpointError(
                f"{folder} holds a model for {held}, asked for {runtime}; `secateur export` writes ONNX folders"
            )
        return cls(
            runner=_open(folder, runtime=held, num_threads=num_threads),
            runtime=held,
            tokenizer=tokenizer,
            labels=tuple(config.id2label[index] for index in range(config.num_labels)),
            text_rules=TextRules.of(card.text_rules),
            max_length=min(limit for limit in limits if limit is not None),
            pad_token_id=_padding(tokenizer, config),
            vocab_size=int(config.vocab_size),
        )

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> list[Prediction]:
        """Classify texts, cleaned as those of the training set were; the order is kept, longer texts are cut.

        What a text is told does not depend on its company: int8 takes one scale of activations for a whole call, so its
        rows are called alone (on one thread that costs nothing: 0.8 ms a row, 0.9 in calls of 32 mixed lengths, 0.65 of
        equal ones). The others share calls with rows of similar length; padding moves their logits by rounding alone.
        """
        if not texts:
            return []
        cleaned = clean_texts(texts, self.text_rules)[0] if self.text_rules else list(texts)
        ids = self.tokenizer(cleaned, truncation=True, max_length=self.max_length)["input_ids"]
        found: dict[int, Prediction] = {}
        calls = _calls([len(row) for row in ids], batch_size=1 if self.runtime == "onnx-int8" else batch_size)
        with progress("texts", total=len(ids), after_s=PATIENCE_S) as advance:
            for chosen in calls:
                logits = self._logits([ids[index] for index in chosen])
                found.update(zip(chosen, self._predictions(logits), strict=True))
                advance(steps=len(chosen))
        return [found[index] for index in range(len(ids))]

    def _logits(self, rows: Sequence[Sequence[int]]) -> Logits:
        length = max(map(len, rows))
        ids = np.full((len(rows), length), self.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        require_known_ids(int(ids.max()), vocab_size=self.vocab_size)
        return self.runner(ids, mask)

    def _predictions(self, logits: Logits) -> list[Prediction]:
        exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        made = []
        for row, best in zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), strict=True):
            scores = dict(zip(self.labels, row, strict=True))
            made.append(Prediction(label=self.labels[best], score=row[best], scores=scores))
        return made


def _padding(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """Return what pads rows: the model reads the last token that is not the config's, where it names one."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    found = (config.pad_token_id, tokenizer.pad_token_id, *ends, 0)
    return int(next(token for token in found if token is not None))


def _calls(lengths: Sequence[int], *, batch_size: int) -> Iterator[list[int]]:
    """Group rows, shortest first; a group ends when it is full or the next row is longer by a quarter."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) == batch_size or lengths[index] > _PADDED * lengths[group[0]]):
            yield group
            group = []
        group.append(index)
    yield group


def _open(folder: Path, *, runtime: Runtime, num_threads: int) -> Runner:
    if runtime == "torch":
        return TorchRunner(load(folder, verify=False))
    return OnnxRunner(folder / ONNX_MODEL, num_threads=num_threads)

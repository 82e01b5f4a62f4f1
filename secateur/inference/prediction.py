"""Labels for texts, from a checkpoint or an ONNX export."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from secateur.config.base import Runtime
from secateur.errors import CheckpointError
from secateur.formats.onnx import ONNX_MODEL
from secateur.inference.encoding import Encoder, answered
from secateur.inference.language_model import require_numbers
from secateur.inference.runners import Logits, OnnxRunner, Runner, TorchRunner, held_runtime, rows_per_call
from secateur.models.checkpoint import kind_of_folder, load
from secateur.models.construction import read_config
from secateur.models.folders import card_of
from secateur.progress import PATIENCE_S, Advance, progress
from secateur.readers.grades import grades_in
from secateur.readers.label_sets import as_set, shown
from secateur.readers.numbers import spelled

THRESHOLD = 0.5
"""Probability above which a label is given to a text that may have several: a logit above 0."""


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text.

    Attributes:
        label: the most probable label; of equal ones, the first. Of a model that gives several, all of ``labels``.
        score: its probability; of several that of the least probable one, of none that there is none.
        scores: probability of every label, summing to 1, but for a model that gives several: there of each by itself.
        cut: whether something of the text is not read.
        labels: ``label`` alone; of a model that gives several those above ``THRESHOLD``, in the order of the model.
        number: that the model tells, where it tells one: ``label`` spells it, and there is no probability (NaN). Of
            grades the place in their order, and ``label`` is the nearest.
        value: the same between the numbers that grades are; else ``number``.
        windows: that the text was read in.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    cut: bool = False
    labels: tuple[str, ...] = ()
    number: float = math.nan
    value: float = math.nan
    windows: int = 1


def read_of(found: Sequence[Prediction]) -> dict[str, Any]:
    """Return what ``Answers`` and ``Measured`` say of how much of texts was read."""
    windows = [one.windows for one in found if one.windows > 1]
    return {"num_cut": sum(one.cut for one in found), "num_long": len(windows), "num_windows": sum(windows)}


@final
@dataclass(frozen=True)
class Predictor:
    """A model with what prepares its texts and the names of its labels.

    ``sets`` where it gives any number of them, ``numbers`` where it tells a number, and with ``grades`` one of
    ``labels``.
    """

    runner: Runner
    runtime: Runtime
    encoder: Encoder
    labels: tuple[str, ...]
    sets: bool = False
    numbers: bool = False
    grades: bool = False

    @property
    def max_length(self) -> int:
        """Tokens that it reads, at most."""
        return self.encoder.max_length

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
        kind = kind_of_folder(folder, card)
        if kind.route == "generate":
            found = "holds a generator, which knows no labels"
            raise CheckpointError(f"{folder} {found}; `secateur generate` lets it write")
        if kind.route != "predict":
            raise CheckpointError(f"{folder} holds a model for {kind.name}, which knows no labels")
        encoder, grades = Encoder.of(folder, card), grades_in(config.id2label) if kind.tells_numbers else ()
        held = held_runtime(folder)
        if runtime not in (None, held):
            raise CheckpointError(
                f"{folder} holds a model for {held}, asked for {runtime}; `secateur export` writes ONNX folders"
            )
        return cls(
            runner=_open(folder, runtime=held, num_threads=num_threads),
            runtime=held,
            encoder=encoder,
            labels=grades or tuple(config.id2label[index] for index in range(config.num_labels)),
            sets=kind.label_sets,
            numbers=kind.tells_numbers,
            grades=bool(grades),
        )

    def predict(
        self, texts: Sequence[str], *, batch_size: int = 32, advance: Advance | None = None
    ) -> list[Prediction]:
        """Classify texts, cleaned as those of the training set were; the order is kept, longer texts are cut.

        Of a model that reads them in windows what is said of a text is the mean of its logits for each.

        What a text is told does not depend on its company: see ``rows_per_call``. Where rows share a call, they are of
        similar length; padding moves their logits by rounding alone.

        Args:
            texts: clean or not.
            batch_size: texts per call, at most.
            advance: is told of texts that have their answer; None shows a bar of its own.

        Raises:
            ModelError: the model gives no numbers, or knows fewer tokens than its tokenizer.
        """
        found: dict[int, Prediction] = {}
        calls = self.encoder.calls(texts, batch_size=rows_per_call(self.runtime, batch_size=batch_size))
        own = progress("predict", total=len(texts), after_s=PATIENCE_S) if advance is None else nullcontext(advance)
        with own as tell:
            for said in answered(calls, lambda call: self.runner(call.ids, call.mask, call.types)):
                made = self._predictions(said.values, said.cut)
                found.update(zip(said.places, map(_in_windows, made, said.windows), strict=True))
                tell(steps=len(made))
        return [found[place] for place in range(len(texts))]

    def _predictions(self, logits: Logits, cut: Sequence[bool]) -> list[Prediction]:
        require_numbers(logits)
        if self.numbers:
            grades = self.labels if self.grades else ()
            return [_told(value, was_cut, grades) for value, was_cut in zip(logits[:, 0], cut, strict=True)]
        if self.sets:
            return [
                self._of_several(row, was_cut) for row, was_cut in zip(each_apart(logits).tolist(), cut, strict=True)
            ]
        exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        made = []
        best = probabilities.argmax(axis=1).tolist()
        for row, chosen, was_cut in zip(probabilities.tolist(), best, cut, strict=True):
            scores = dict(zip(self.labels, row, strict=True))
            said = self.labels[chosen]
            made.append(Prediction(label=said, score=row[chosen], scores=scores, cut=was_cut, labels=(said,)))
        return made

    def _of_several(self, row: Sequence[float], was_cut: bool) -> Prediction:
        scores = dict(zip(self.labels, row, strict=True))
        said = tuple(name for name, score in scores.items() if score > THRESHOLD)
        score = min(scores[name] for name in said) if said else 1.0 - max(row)
        return Prediction(label=shown(as_set(said)), score=score, scores=scores, cut=was_cut, labels=said)


def _in_windows(made: Prediction, windows: int) -> Prediction:
    return made if windows == 1 else replace(made, windows=windows)


def _told(value: np.float32, was_cut: bool, grades: Sequence[str]) -> Prediction:
    """Return the number that a model tells, in as many digits as it computes, and the nearest of its grades."""
    number = float(str(np.float32(value)))
    shared: Any = {"score": math.nan, "scores": {}, "cut": was_cut, "number": number}
    if not grades:
        return Prediction(label=spelled(number), value=number, **shared)
    label = grades[int(np.clip(np.rint(number), 0, len(grades) - 1))]
    between = float(np.interp(number, range(len(grades)), [float(grade) for grade in grades]))
    return Prediction(label=label, labels=(label,), value=float(str(np.float32(between))), **shared)


def each_apart(logits: Logits) -> npt.NDArray[np.float64]:
    """Return the probability of every label of models that give several, (rows, C): ``1 / (1 + exp(-logit))``."""
    probabilities: npt.NDArray[np.float64] = expit(logits.astype(np.float64))
    return probabilities


def _open(folder: Path, *, runtime: Runtime, num_threads: int) -> Runner:
    if runtime == "torch":
        return TorchRunner(load(folder, verify=False))
    return OnnxRunner(folder / ONNX_MODEL, num_threads=num_threads)

"""What kinds share whose models tell a number for every text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from secateur.kinds.base import Route
from secateur.kinds.labelled import of_whole_texts, unattacked, unattacked_problems, with_some_label
from secateur.kinds.whole_texts import OfWholeTexts

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.config.evaluate import EvaluateSection
    from secateur.config.promote import PromoteSection
    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.tokens import TokenRows
    from secateur.evaluation.findings import Answered, Findings, Given
    from secateur.evaluation.metrics import Interval
    from secateur.evaluation.row_scores import Measured
    from secateur.gate.condition import Condition, JudgedRows
    from secateur.inference.answers import Answers
    from secateur.inference.prediction import Prediction, Predictor
    from secateur.statistics.numbers import Scoring
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores

_CHANGED = 0.1
"""Of the variance of the numbers: twice the root of the dense model's error, two fifths of it, times that of what a
round changes in its answers, a sixteenth of that. The noise of a drop of R² is the root of this by the rows."""

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


class Numeric(OfWholeTexts):
    """A number for every text: one output, squared errors, in units of its own while it learns (``data.units``)."""

    needs_labels: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = False
    tells_numbers: ClassVar[bool] = True
    min_labels: ClassVar[int] = 0
    keeps_logits: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = False
    full_precision: ClassVar[bool] = False
    reads_windows: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "predict"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "another one, somewhat longer than the first", "?")
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    # What a kind of this sort adds.

    def scoring(self) -> "Scoring":
        """Return how numbers are scored."""
        raise NotImplementedError

    def told(self, values: "npt.NDArray[np.float64]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """Return what a model says of rows whose outputs are these, (rows,); ``names`` are those of ``Targets``."""
        return values

    def answered(self, found: "Sequence[Prediction]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """Return what the answers of a finished model, perhaps of another time, say on the scale of ``Targets``."""
        import numpy as np

        return np.array([one.number for one in found], np.float64)

    def written(self, value: float, *, names: Sequence[str]) -> str:
        """Write a number, or what stands for it, for people."""
        return f"{value:.4g}"

    def valued(self, values: "npt.NDArray[np.float64]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """Return outputs of a model, (rows,), as numbers of the rows."""
        return values

    def least(self, settings: "PromoteSection") -> float:
        """Return what the gate asks for of the deciding score."""
        raise NotImplementedError

    # What all have in common.

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if config.ingest.label_column is None:
            yield "ingest.label_column must name the column of the numbers, found null"
        yield from of_whole_texts(config, "a number")
        if config.baseline.control:
            yield "baseline.control must be false: numbers are what the model tells, not what it is told"
        if config.evaluate.judge is not None:
            yield f"evaluate.judge must be null, found {config.evaluate.judge}: it tells the label of a generated text"
        for name, found, usual in (
            ("rare_labels", config.ingest.rare_labels, "refuse"),
            ("lookalike_labels", config.ingest.lookalike_labels, "keep"),
        ):
            if found != usual:
                yield f"ingest.{name} must be {usual}, found {found}: numbers are no names that are rare or look alike"
        yield from unattacked_problems(config)

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        return unattacked(with_some_label(values))

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; one."""
        return ["number"]

    def loss(
        self,
        logits: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> "Tensor":
        """See ``Kind``; squared errors of (B, 1) logits and (B,) numbers; there are no labels to smooth."""
        from torch.nn.functional import mse_loss

        return mse_loss(logits[:, 0], labels.to(logits.dtype), reduction=reduction)

    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """See ``Kind``; squared differences."""
        return (logits - expected).square().mean()

    def log_probabilities(self, logits: "Tensor") -> "Tensor":
        """See ``Kind``; the numbers themselves: there are no probabilities, and ``divergence`` takes squares."""
        return logits

    def divergence(self, found: "Tensor", wanted: "Tensor") -> "Tensor":
        """See ``Kind``; squared differences."""
        return (found - wanted).square().sum()

    def direction(self, logits: "Tensor", signs: "Tensor") -> "Tensor":
        """See ``Kind``; the Hessian of squares is a constant."""
        return signs

    def start_(self, model: "PreTrainedModel", rows: "TokenRows") -> None:
        """See ``Kind``; about their mean, in their units."""
        from secateur.training.standard_head import start_in_

        start_in_(model, rows.units)

    def recovery(self, lesson: "Lesson") -> "Objective":
        """See ``Kind``; what the dense model says of a row is a second number to come near to."""
        from secateur.training.lesson import from_logits

        return from_logits(lesson)

    def validate(
        self,
        model: "PreTrainedModel",
        rows: "TokenRows",
        *,
        batch_size: int,
        precision: "Precision",
        dense_logits: "Tensor | None" = None,
    ) -> "Scores":
        """See ``Kind``; the loss in squares of ``Units.scale``, and scores that have no unit."""
        import numpy as np

        from secateur.data.units import Units
        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        said = logits_of(model, rows, batch_size=batch_size, precision=precision)[:, 0].double().numpy()
        truth = np.asarray(rows.labels, np.float64)
        units = rows.units or Units.of(truth)
        loss = float((((said - truth) / units.scale) ** 2).mean())
        found = self.scoring().of(truth, self.told(said, names=self.grades(model)))
        return Scores(self.measure, loss=loss, values={name: found[name] for name in self.scores})

    def grades(self, model: "PreTrainedModel") -> Sequence[str]:
        """Return the names that stand for numbers, as a model knows them; none where numbers are themselves."""
        return ()

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return math.sqrt(_CHANGED / num_rows)

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """See ``Kind``; the mean of all numbers."""
        return 0.0

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``; validation rows choose the strength of the ridge regression."""
        return ("train", "validation") if settings.reference else ()

    def evaluate_models(self, given: "Given") -> "Findings":
        """See ``Kind``."""
        from secateur.evaluation.number_findings import evaluate_numbers

        return evaluate_numbers(given, self)

    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """See ``Kind``."""
        from secateur.evaluation.number_comparison import judge_models

        return judge_models(folders, rows, config=config, kind=self)

    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``; what became of the deciding score, and the rows whose numbers differ most."""
        from secateur.evaluation.number_comparison import compare_models

        return compare_models(folders, rows, num_threads=num_threads, num_examples=num_examples, kind=self)

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``."""
        from secateur.evaluation.number_comparison import numbers_again

        return numbers_again(folder, test=test, labels=labels, kind=self)

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return metrics.get(f"deployed_{self.measure.name}")

    def open_model(self, folder: "Path", *, num_threads: int = 1, verify: bool = True) -> "Predictor":
        """See ``Kind``."""
        from secateur.inference.prediction import Predictor

        return Predictor.load(folder, num_threads=num_threads, verify=verify)

    def warm_up(self, model: "Predictor", *, label: str) -> None:
        """See ``Kind``; the first calls allocate, and nobody should wait for that."""
        from secateur.errors import CheckFailed, ModelError

        try:
            for _ in range(2):
                model.predict(_WARM_UP)
        except ModelError as error:
            raise CheckFailed(f"{label} gives no numbers: {error}") from error

    def probe_model(
        self, folder: "Path", texts: Sequence[str], *, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """See ``Kind``."""
        said = next(iter(self.answer_texts(self.open_model(folder), texts, parameters).values()))
        return [{"label": str(value), "score": None} for value in said]

    def unknown_labels(self, model: "Predictor", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that are no numbers."""
        from secateur.evaluation.number_rows import no_numbers

        return no_numbers(labels)

    def measure_rows(self, model: "Predictor", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``; the number of a row, and the one that is said."""
        from secateur.evaluation.number_rows import true_and_said

        return true_and_said(model, texts, labels)

    def scores_of(
        self, model: "Predictor", values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """See ``Kind``."""
        from secateur.evaluation.number_rows import intervals_of

        truth, said = values.T
        return intervals_of(self.scoring(), truth, said, samples=samples, level=level, seed=seed)

    def confusion_of(self, model: "Predictor", values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.int64] | None":
        """See ``Kind``; numbers are near or far, and not taken for another."""
        return None

    def answer_texts(
        self, model: "Predictor", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``."""
        return {"number": [one.number for one in model.predict(texts)]}

    def answer_rows(
        self, model: "Predictor", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``."""
        from secateur.evaluation.number_rows import numbers_of_rows

        return numbers_of_rows(model, texts)

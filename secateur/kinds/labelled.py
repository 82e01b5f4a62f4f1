"""What kinds share whose models tell labels, be it one per text or any number."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.kinds.base import Route
from secateur.kinds.whole_texts import OfWholeTexts
from secateur.quality import MACRO_F1, Measure

if TYPE_CHECKING:
    from pathlib import Path

    from secateur.config.evaluate import EvaluateSection
    from secateur.config.schema import RunConfig
    from secateur.evaluation.findings import Findings, Given
    from secateur.gate.condition import Condition, JudgedRows
    from secateur.inference.prediction import Predictor
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective

_FLIPS = 0.05
"""Share of the validation rows on which a pruned classifier answers otherwise than dense: the noise of its score.
Labels of a row change apart, so that where there are several their mean is noisier by no more than that."""

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


def of_whole_texts(config: "RunConfig", what: str) -> Iterator[str]:
    """Yield what makes other texts than those that ``what`` belongs to."""
    if config.ingest.format == "text":
        yield "ingest.format text makes one row of a file; labelled rows come from csv, jsonl, parquet or lines"
    if config.clean.split != "none":
        yield f"clean.split must be none, found {config.clean.split}: {what} belongs to a whole text"


def unattacked_problems(config: "RunConfig") -> Iterator[str]:
    """Yield what attacks a model where attacks have no score."""
    attacks = "attacks are scored by one label per text"
    if config.prune.max_robust_drop is not None:
        yield f"prune.max_robust_drop must be null, found {config.prune.max_robust_drop:g}: {attacks}"
    for name, rows in (
        ("evaluate.robustness.rows", config.evaluate.robustness.rows),
        ("promote.robustness.rows", config.promote.robustness.rows),
    ):
        if rows:
            yield f"{name} must be 0, found {rows}: {attacks}"


def unattacked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of params.yaml without attacks, unless they ask for some."""
    parts: dict[str, Any] = {part: dict(values.get(part, {})) for part in ("evaluate", "promote")}
    for section in parts.values():
        section.setdefault("robustness", {"rows": 0})
    return {**values, **parts}


def with_some_label(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of params.yaml with a column of labels, where none is named one that every format may have."""
    ingest = values.get("ingest", {})
    some = "label" if ingest.get("format") == "fasttext" else "file"
    return {**values, "ingest": {**ingest, "label_column": ingest.get("label_column") or some}}


class Labelled(OfWholeTexts):
    """Labels for every text; macro-F1 over them decides. A kind of its own is each class of this one."""

    measure: ClassVar[Measure] = MACRO_F1
    needs_labels: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = True
    min_labels: ClassVar[int] = 2
    keeps_logits: ClassVar[bool] = True
    full_precision: ClassVar[bool] = False
    reads_windows: ClassVar[bool] = True
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "predict"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "another one, somewhat longer than the first", "?")
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``; what goes for labels however many a text has."""
        yield from of_whole_texts(config, "a label")
        if config.baseline.control:
            yield "baseline.control must be false: labels are what the model predicts, not what it is told"
        if config.evaluate.judge is not None:
            yield f"evaluate.judge must be null, found {config.evaluate.judge}: it tells the label of a generated text"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        return with_some_label(values)

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; one for every label."""
        return labels

    def recovery(self, lesson: "Lesson") -> "Objective":
        """See ``Kind``."""
        from secateur.training.lesson import from_logits

        return from_logits(lesson)

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return math.sqrt(_FLIPS / num_rows)

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``; validation rows choose the settings of the simple classifier."""
        return ("train", "validation") if settings.reference else ()

    def evaluate_models(self, given: "Given") -> "Findings":
        """See ``Kind``."""
        from secateur.evaluation.classifier_findings import evaluate_classifiers

        return evaluate_classifiers(given, self)

    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """See ``Kind``."""
        from secateur.evaluation.classifier_measurement import judge_classifiers

        return judge_classifiers(folders, rows, config=config)

    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``; predictions that changed, and McNemar's test."""
        from secateur.evaluation.classifier_comparison import compare_classifiers

        return compare_classifiers(folders, rows, num_threads=num_threads, num_examples=num_examples)

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return metrics.get("deployed_macro_f1")

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
            raise CheckFailed(f"{label} gives no probabilities: {error}") from error

    def unknown_labels(self, model: "Predictor", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that are none of the model's."""
        from secateur.evaluation.classifier_rows import labels_not_of

        return labels_not_of(model, labels)

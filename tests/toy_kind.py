"""A kind of task in one file, as another package would bring it: a number for every text, and a second one unused."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

from secateur.kinds.base import Kind, Route
from secateur.quality import Measure

ERROR = Measure("rmse", "root mean squared error", higher_is_better=False)


class Rater:
    """An open model."""

    labels: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """Load it."""
        from secateur.models.card import Card
        from secateur.models.checkpoint import load, load_tokenizer

        self.model, self.tokenizer = load(folder), load_tokenizer(folder)
        self.max_length = Card.read(folder).max_length or 512

    def numbers(self, texts: Sequence[str]) -> list[float]:
        """Return a number for every text."""
        import torch

        found = []
        with torch.inference_mode():
            for text in texts:
                ids = self.tokenizer(text, truncation=True, max_length=self.max_length, return_tensors="pt")
                output = self.model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"])
                found.append(float(output.logits[0, 0]))
        return found


@final
class Rating(Kind):
    """A number for every text; the root mean squared error decides."""

    name: ClassVar[str] = "rating"
    does: ClassVar[str] = "rate a text"
    measure: ClassVar[Measure] = ERROR
    scores: ClassVar[tuple[str, ...]] = ("rmse",)
    needs_labels: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = False
    min_labels: ClassVar[int] = 0
    keeps_logits: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = False
    full_precision: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "predict"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "?")
    columns: ClassVar[Mapping[str, str]] = {"number": "string"}
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    def problems(self, config: Any) -> Iterator[str]:
        """See ``Kind``."""
        if config.evaluate.robustness.rows:
            yield f"evaluate.robustness.rows must be 0, found {config.evaluate.robustness.rows}: attacks need labels"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        ingest = {"label_column": "file", **values.get("ingest", {})}
        return {**values, "ingest": ingest, "evaluate": {"robustness": {"rows": 0}}}

    def targets(self, labels: Sequence[str]) -> Any:
        """See ``Kind``."""
        import numpy as np

        from secateur.errors import DataError
        from secateur.readers.labels import Targets

        try:
            values = np.array([float(label) for label in labels], np.float32)
        except ValueError as error:
            raise DataError(f"a rating is a number: {error}") from error
        return Targets([], values, strata=np.zeros(len(values), np.int64))

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``."""
        return ["number", "spare"]

    def claims(self, config: Any) -> bool:
        """See ``Kind``."""
        from secateur.models.heads import head_of

        return (
            not head_of(config).per_token
            and len(config.id2label) == 2
            and vars(config).get("problem_type") == self.problem_type
        )

    def tokenize(self, tables: Mapping[str, Path], out: Path, *, tokenizer: Any, max_length: int, **_: Any) -> int:
        """See ``Kind``."""
        from secateur.training.prepared_rows import tokenize_rows

        return tokenize_rows(tables, out, tokenizer=tokenizer, max_length=max_length, kind=self.name)

    def token_rows(
        self, data: Any, parts: Sequence[Any], *, tokenizer: Any, max_length: int, rules: Any, **_: Any
    ) -> tuple[list[Any], int]:
        """See ``Kind``."""
        from secateur.data.labelled import tokenize_labelled

        rows, cut = tokenize_labelled(data, tokenizer=tokenizer, max_length=max_length, rules=rules, kind=self.name)
        return [rows.take(part) for part in parts], cut

    def in_card(self, controls: Mapping[str, str]) -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def loss(self, logits: Any, labels: Any, *, label_smoothing: float = 0.0, reduction: Any = "mean") -> Any:
        """See ``Kind``."""
        from torch.nn.functional import mse_loss

        return mse_loss(logits[:, 0], labels, reduction=reduction)

    def apart(self, logits: Any, expected: Any) -> Any:
        """See ``Kind``."""
        return (logits - expected).square().mean()

    def recovery(self, lesson: Any) -> Any:
        """See ``Kind``."""
        from secateur.training.lesson import from_logits

        return from_logits(lesson)

    def validate(self, model: Any, rows: Any, *, batch_size: int, precision: Any) -> Any:
        """See ``Kind``."""
        import torch

        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
        loss = float(self.loss(logits, torch.from_numpy(rows.labels)))
        return Scores(self.measure, loss=loss, values={"rmse": math.sqrt(loss)})

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return 0.0

    def evaluated_with(self, settings: Any) -> tuple[str, ...]:
        """See ``Kind``."""
        return ()

    def evaluate_models(self, given: Any) -> Any:
        """See ``Kind``."""
        import pyarrow as pa

        from secateur.budget.cost import cost_of
        from secateur.data.tokens import read_tokens, tokenize
        from secateur.evaluation.findings import Findings
        from secateur.models.card import Card
        from secateur.models.checkpoint import load, load_tokenizer
        from secateur.training.objectives import logits_of

        metrics: dict[str, dict[str, Any]] = {}
        columns = {}
        for name, folder in given.folders.items():
            model = load(folder)
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "test.arrow"
                tokenizer = load_tokenizer(folder)
                table = given.inputs["test"]
                tokenize(table, tokenizer=tokenizer, max_length=given.max_length, out=file, kind=self.name)
                rows = read_tokens(file)
            logits = logits_of(model, rows, batch_size=given.settings.batch_size, precision=given.run.precision)
            columns |= {"row": rows.rows, "target": rows.labels, name: logits[:, 0].numpy()}
            cost = cost_of(model)
            dense = metrics.get("baseline", {"nonembedding_params": cost.nonembedding_params})
            metrics[name] = {
                "params": cost.params,
                "nonembedding_params": cost.nonembedding_params,
                "macs": cost.macs,
                "bytes": cost.bytes,
                "sparsity": 1.0 - cost.nonembedding_params / dense["nonembedding_params"],
                "rmse": float(((logits[:, 0].numpy() - rows.labels) ** 2).mean() ** 0.5),
            }
            if name != "baseline":
                metrics[name]["accepted"] = Card.read(folder).accepted
        off = {name: [float(said - columns["target"][0]) for said in columns[name][:1]] for name in metrics}
        models = {name: {"first": first} for name, first in off.items()}
        details = {"task": self.name, "test_rows": len(rows), "deployed": "torch", "models": models}
        return Findings(metrics, details, predictions=pa.table(columns), plot=("rmse",))

    def presentation(self) -> Any:
        """See ``Kind``."""
        from secateur.report import columns, formats
        from secateur.report.presentation import Compared, Presentation, Score, Section, Words
        from secateur.report.scales import GROWTH

        page = """<section id="first" aria-labelledby="first-title">
        <h2 id="first-title">{{ title }}</h2>
        {% for result in accepted %}<p>{{ result.title }}: {{ result.details.first[0] | round(2) }}</p>{% endfor %}
        </section>"""
        return Presentation(
            scale=GROWTH,
            scores=(Score("rmse", "RMSE", formats.three_digits, note="lower is better"),),
            columns=lambda rows: [*columns.score_columns("rmse", "RMSE", GROWTH), *columns.timed_columns(rows)],
            sections=lambda shown: [Section("first", "First row", page, {"title": "How far <off> the first row is"})],
            compared=lambda found, names: Compared(
                " and ".join(f"{names[side]} is {found['scores']['ab'[side]]['rmse']:.4f} off" for side in (0, 1))
            ),
            words=Words(loss="squares per row"),
            symbol="rmse",
        )

    def describe_speed(self, settings: Any) -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def measure_speed(self, folders: Mapping[str, Path], *, settings: Any, exports: Path) -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def judge_models(self, folders: Mapping[str, Path], rows: Any, *, config: Any, root: Path) -> tuple[Any, ...]:
        """See ``Kind``."""
        from secateur.gate.condition import Condition

        found = {name: self._error(folder, rows) for name, folder in folders.items()}
        error = found["challenger"]
        said = f"root mean squared error {error:.4f}"
        conditions = [Condition("quality_floor", "a number", f"{error:.4f}", math.isfinite(error), said)]
        if "champion" in found:
            passed = error <= found["champion"] * (1.0 + config.promote.generation.max_growth)
            conditions.append(Condition("quality_drop", "no growth", f"{error:.4f}", passed, said))
        return tuple(conditions)

    def _error(self, folder: Path, rows: Any) -> float:
        numbers = Rater(folder).numbers(rows.texts)
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(numbers, rows.labels, strict=True)) / len(numbers))

    def compare_models(
        self, folders: Mapping[str, Path], rows: Any, *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``."""
        return {"scores": {side: {"rmse": self._error(folder, rows)} for side, folder in folders.items()}}

    def answer_again(self, folder: Path, *, test: Path, labels: Path) -> Any:
        """See ``Kind``."""
        import pyarrow.parquet as pq

        from secateur.evaluation.findings import Answered

        assert json.loads(labels.read_text()) == []
        columns = pq.read_table(test, columns=["text", "label"]).to_pydict()
        numbers = Rater(folder).numbers(columns["text"])
        error = math.sqrt(sum((a - b) ** 2 for a, b in zip(numbers, columns["label"], strict=True)) / len(numbers))
        return Answered({"rmse": error}, "rmse", numbers, f"error {error:.4f} on {len(numbers)} test rows")

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return metrics.get("rmse")

    def open_model(self, folder: Path, *, num_threads: int = 1, verify: bool = True) -> Rater:
        """See ``Kind``."""
        return Rater(folder)

    def warm_up(self, model: Rater, *, label: str) -> None:
        """See ``Kind``."""
        from secateur.errors import CheckFailed

        if not all(map(math.isfinite, model.numbers(["a text"]))):
            raise CheckFailed(f"{label} answers with no number")

    def askable(self, texts: Sequence[str]) -> list[str]:
        """See ``Kind``."""
        return list(texts)

    def probe_model(self, folder: Path, texts: Sequence[str], *, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See ``Kind``."""
        return [{"label": f"{number:.3f}", "score": None} for number in self.open_model(folder).numbers(texts)]

    def answer_texts(self, model: Rater, texts: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
        """See ``Kind``."""
        return {"number": [f"{number:.3f}" for number in model.numbers(texts)]}

    def answer_rows(
        self, model: Rater, texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> Any:
        """See ``Kind``."""
        from secateur.inference.answers import Answers

        return Answers({"number": model.numbers(texts)})

    def unknown_labels(self, model: Rater, labels: Sequence[str]) -> list[str]:
        """See ``Kind``."""

        def is_number(label: str) -> bool:
            try:
                return math.isfinite(float(label))
            except ValueError:
                return False

        return [label for label in labels if not is_number(label)]

    def measure_rows(self, model: Rater, texts: Sequence[str], labels: Sequence[str | None]) -> Any:
        """See ``Kind``; squares of the errors."""
        import numpy as np

        from secateur.evaluation.row_scores import Measured

        wanted = np.array([float(str(label)) for label in labels])
        return Measured((np.array(model.numbers(texts)) - wanted)[:, None] ** 2)

    def scores_of(self, model: Rater, values: Any, *, samples: int, level: float, seed: int) -> Any:
        """See ``Kind``."""
        import numpy as np

        from secateur.evaluation.metrics import Interval
        from secateur.statistics.bootstrap import resampled_sums

        drawn = np.sqrt(resampled_sums(values, samples=samples, seed=seed)[:, 0] / len(values))
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return {"rmse": Interval(float(np.sqrt(values.mean())), float(low), float(high))}

    def confusion_of(self, model: Rater, values: Any) -> None:
        """See ``Kind``."""
        return None


KIND = Rating()

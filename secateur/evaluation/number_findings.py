"""The dense model that tells numbers and every round on the test rows: as PyTorch models, and in the deployed form."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.classifier_findings import evaluated_models
from secateur.evaluation.comparison import Evaluated, costs_of
from secateur.evaluation.findings import Findings, Given
from secateur.evaluation.metrics import FloatArray
from secateur.evaluation.number_rows import intervals_of
from secateur.evaluation.ridge import fit_ridge
from secateur.evaluation.slices import Mask, descriptions_of, slices_of
from secateur.gate.numbers import explained_on
from secateur.readers.pairs import shown
from secateur.statistics.margins import USUAL

if TYPE_CHECKING:
    from secateur.kinds.numeric import Numeric

_MAX_ERRORS, _MAX_DIFFERENCES, _MAX_POINTS = 20, 12, 400


def evaluate_numbers(given: Given, kind: "Numeric") -> Findings:
    """Score all of them; the metrics have the names of ``Numeric.scoring``."""
    names: list[str] = json.loads(given.inputs["labels"].read_text(encoding="utf-8"))
    texts = pq.read_table(given.inputs["test"], columns=["text"]).column("text").to_pylist()
    rows, models = evaluated_models(given, texts, kind=kind)
    truth = np.asarray(rows.labels, np.float64)
    test = _Test(kind, names, texts, truth, slices=slices_of(texts), settings=given.settings, seed=given.run.seed)
    dense = models["baseline"]
    simple, described = _simple(given, test, dense)
    details = {
        **described,
        "task": kind.name,
        "labels": names,
        "test_rows": len(rows),
        **rows.described(),
        "confidence_level": given.settings.confidence_level,
        "deployed": given.settings.deployed,
        "slices": descriptions_of(texts),
        "spread": float(truth.std()),
        "models": {name: test.details_of(model, dense=dense) for name, model in models.items()},
    }
    told = {name: test.said(model) for name, model in models.items()}
    return Findings(
        metrics={name: test.metrics_of(model, dense=dense) for name, model in models.items()},
        details=details,
        predictions=pa.table({"row": rows.rows, "label": truth} | told),
        plot=tuple(kind.scoring().of(truth, truth)),
        baseline=simple,
    )


class _Test:
    """The test rows, and what scores them."""

    def __init__(
        self,
        kind: "Numeric",
        names: Sequence[str],
        texts: Sequence[str],
        truth: FloatArray,
        *,
        slices: Mapping[str, Mask],
        settings: EvaluateSection,
        seed: int,
    ) -> None:
        self.kind, self.names, self.texts, self.truth = kind, names, texts, truth
        self._slices, self._settings, self._seed = slices, settings, seed

    def said(self, model: Evaluated, *, deployed: bool = False) -> FloatArray:
        """Return what a model says of every row, in PyTorch or as it is deployed."""
        logits = model.deployed.logits if deployed else model.logits
        return self.kind.told(logits[:, 0].double().numpy(), names=self.names)

    def metrics_of(self, model: Evaluated, *, dense: Evaluated) -> dict[str, float | int | bool]:
        """Return the entry of one model in metrics.json; no times."""
        deciding = self.kind.measure.name
        entry = costs_of(model, dense=dense) | self.scores(self.said(model))
        of_form = self.scores(self.said(model, deployed=True))
        entry |= {f"deployed_{name}": value for name, value in of_form.items() if name.startswith(deciding)}
        entry["deployed_bytes"] = model.deployed.bytes
        if model.accepted is not None:
            entry |= self._change("deployed_change", before=self.said(dense), after=self.said(model, deployed=True))
            entry["accepted"] = model.accepted
        return entry

    def scores(self, said: FloatArray) -> dict[str, float]:
        """Return every score with the ends of its interval."""
        settings = self._settings
        found = intervals_of(
            self.kind.scoring(),
            self.truth,
            said,
            samples=settings.bootstrap_samples,
            level=settings.confidence_level,
            seed=self._seed,
        )
        ends = (("", "value"), ("_low", "low"), ("_high", "high"))
        return {f"{name}{end}": getattr(one, part) for name, one in found.items() for end, part in ends}

    def _change(self, name: str, *, before: FloatArray, after: FloatArray) -> dict[str, float]:
        value, (low, high) = self.compared(before=before, after=after)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def compared(self, *, before: FloatArray, after: FloatArray) -> tuple[float, tuple[float, float]]:
        """Return what becomes of the deciding score, and the interval of that in pairs."""
        scoring, settings = self.kind.scoring(), self._settings
        drawn = scoring.change(
            self.truth, before=before, after=after, samples=settings.bootstrap_samples, seed=self._seed
        )
        tail = (1.0 - settings.confidence_level) / 2.0
        was, is_ = (scoring.of(self.truth, said)[scoring.deciding] for said in (before, after))
        return is_ - was, (float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1.0 - tail)))

    def details_of(self, model: Evaluated, *, dense: Evaluated) -> dict[str, Any]:
        """Return the entry of one model in details.json.

        It holds slices, points (true number and the one that is said, of some rows), the largest errors, widths, and
        for all but the dense model where it says something else.
        """
        said = self.said(model)
        changed = {} if model.accepted is None else {"differences": self._differences(self.said(dense), said)}
        return {
            **changed,
            "slices": self._sliced(said),
            "points": self._points(model.logits[:, 0].double().numpy()),
            "errors": self._errors(said),
            "widths": dict(model.widths),
            "dense_widths": dict(model.dense_widths),
        }

    def _sliced(self, said: FloatArray) -> dict[str, dict[str, float | int]]:
        return {
            name: {
                "rows": int(mask.sum()),
                "explained": explained_on(mask, truth=self.truth, said=said),
                "mae": float(np.abs(said - self.truth)[mask].mean()),
                "bias": float((said - self.truth)[mask].mean()),
            }
            for name, mask in self._slices.items()
            if mask.any()
        }

    def _points(self, said: FloatArray) -> list[list[float]]:
        count = len(said)
        picked = np.unique(np.linspace(0, count - 1, min(count, _MAX_POINTS)).astype(np.int64))
        pairs = (self.kind.valued(values[picked], names=self.names) for values in (self.truth, said))
        return [[round(float(value), 6) for value in pair] for pair in zip(*pairs, strict=True)]

    def _errors(self, said: FloatArray) -> list[dict[str, str]]:
        """Return the rows with the largest errors, the largest first."""
        most = np.argsort(-np.abs(said - self.truth), kind="stable")[:_MAX_ERRORS]
        return [self._row(row, predicted=said[row]) for row in most.tolist() if said[row] != self.truth[row]]

    def _differences(self, dense: FloatArray, said: FloatArray) -> list[dict[str, str]]:
        """Return the rows of which two models say the most different numbers."""
        most = np.argsort(-np.abs(said - dense), kind="stable")[:_MAX_DIFFERENCES]
        picked = [row for row in most.tolist() if said[row] != dense[row]]
        return [self._row(row, dense=dense[row], predicted=said[row]) for row in picked]

    def _row(self, row: int, **said: float) -> dict[str, str]:
        told = {name: self.kind.written(value, names=self.names) for name, value in said.items()}
        true = self.kind.written(self.truth[row], names=self.names)
        return {"text": shown(self.texts[row]), "label": true, **told}


def _simple(given: Given, test: _Test, dense: Evaluated) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return what metrics.json and details.json say of the ridge regression; nothing where it is not asked for."""
    if not given.settings.reference:
        return None, {}
    (texts, numbers), (judging, judged) = (_rows_of(given.inputs[part]) for part in ("train", "validation"))
    model = fit_ridge(texts, numbers, validation=judging, validation_numbers=judged)
    said = test.kind.told(model.predict(test.texts), names=test.names)
    entry = {"validation_r2": model.validation_r2, **test.scores(said)}
    gained, (low, high) = test.compared(before=said, after=test.said(dense))
    entry |= {"gained": gained, "gained_low": low, "gained_high": high}
    measure = test.kind.measure
    mine = test.kind.scoring().of(test.truth, test.said(dense))[measure.name]
    scores = (
        f"{model.name} ({measure.title} {entry[measure.name]:.4f} against {mine:.4f}; that of the model is {low:+.4f} "
        f"to {high:+.4f} higher)"
    )
    return entry, {"reference": model.name, "reference_verdict": _verdict(scores, low=low, high=high)}


def _verdict(scores: str, *, low: float, high: float) -> str | None:
    """Say that the ridge regression wins, is as good, or is not shown to be worse; None when the model is better."""
    if low > 0.0:
        return None
    if high < 0.0:
        return f"Needed no network and is better than the dense model: {scores}"
    if high < USUAL:
        return f"Needed no network and is as good as the dense model: {scores}"
    return f"Too few test rows to show that the dense model is better than what needs no network: {scores}"


def _rows_of(table: Path) -> tuple[list[str], FloatArray]:
    columns = pq.read_table(table, columns=["text", "label"]).to_pydict()
    return columns["text"], np.asarray(columns["label"], np.float64)

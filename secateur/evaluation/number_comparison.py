"""Models that tell numbers on the test rows of today: for the gate, side by side, and once more."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from secateur.config.schema import RunConfig
from secateur.evaluation.classifier_measurement import times_of
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.findings import Answered
from secateur.evaluation.metrics import FloatArray
from secateur.evaluation.slices import slices_of
from secateur.gate.condition import Condition, JudgedRows
from secateur.gate.numbers import NumberRows, Told, judge_numbers
from secateur.inference.latency import torch_threads
from secateur.inference.prediction import Predictor
from secateur.progress import progress
from secateur.readers.pairs import shown

if TYPE_CHECKING:
    from secateur.kinds.numeric import Numeric

_SAMPLES, _TAIL = 1000, 0.025
_NOTABLE = 0.1
"""Standard deviations of the true numbers from which two answers are told to differ."""


def judge_models(
    folders: Mapping[str, Path], rows: JudgedRows, *, config: RunConfig, kind: "Numeric"
) -> tuple[Condition, ...]:
    """Judge the ``challenger`` against the ``champion``, where there is one.

    Raises:
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    wanted = config.promote
    judged = NumberRows(
        truth=np.asarray(rows.labels, np.float64),
        slices=slices_of(rows.texts),
        scoring=kind.scoring(),
        measure=kind.measure,
        least=kind.least(wanted),
        seed=config.run.seed,
    )
    with torch_threads(wanted.latency.num_threads):
        opened = {
            name: Predictor.load(folder, num_threads=wanted.latency.num_threads) for name, folder in folders.items()
        }
        times = times_of(opened, folders, wanted.latency)
        said = _said(opened, rows, kind=kind, title="judge")
    told = {name: Told(said[name], folder_bytes(folders[name]), times[name]) for name in folders}
    return judge_numbers(judged, challenger=told["challenger"], champion=told.get("champion"), settings=wanted)


def compare_models(
    folders: Mapping[str, Path], rows: JudgedRows, *, num_threads: int, num_examples: int, kind: "Numeric"
) -> dict[str, Any]:
    """Return scores, what became of the deciding one, and the rows whose numbers differ most; JSON values."""
    opened = {side: Predictor.load(folder, num_threads=num_threads) for side, folder in folders.items()}
    said, truth, scoring = (
        _said(opened, rows, kind=kind, title="compare"),
        np.asarray(rows.labels, np.float64),
        kind.scoring(),
    )
    drawn = scoring.change(truth, before=said["a"], after=said["b"], samples=_SAMPLES, seed=0)
    scores = {side: scoring.of(truth, found) for side, found in said.items()}
    apart = np.abs(said["b"] - said["a"])
    most = [row for row in np.argsort(-apart, kind="stable")[:num_examples].tolist() if apart[row] > 0.0]
    written = partial(kind.written, names=rows.names)
    return {
        "scores": scores,
        "changed": int((apart > _NOTABLE * truth.std()).sum()),
        "change": {
            "value": scores["b"][scoring.deciding] - scores["a"][scoring.deciding],
            "low": float(np.quantile(drawn, _TAIL)),
            "high": float(np.quantile(drawn, 1.0 - _TAIL)),
        },
        "examples": [
            {
                "text": shown(rows.texts[row]),
                "label": written(truth[row]),
                "a": written(said["a"][row]),
                "b": written(said["b"][row]),
            }
            for row in most
        ],
    }


def numbers_again(folder: Path, *, test: Path, labels: Path, kind: "Numeric") -> Answered:
    """Let a model answer the test rows; its answers per row are in standard deviations of the true numbers.

    Only scores that have no unit are told: whoever compares them with those of another time allows one difference.
    """
    names = json.loads(labels.read_text(encoding="utf-8"))
    table = pq.read_table(test, columns=["text", "label"])
    truth = np.asarray(table["label"].to_pylist(), np.float64)
    found = _of(Predictor.load(folder).predict(table["text"].to_pylist()), kind=kind, names=names)
    title, deciding = kind.measure.title, kind.measure.name
    values = {name: value for name, value in kind.scoring().of(truth, found).items() if name in kind.scores}
    per_row = (found / (float(truth.std()) or 1.0)).tolist()
    return Answered(values, deciding, per_row, f"{title} {values[deciding]:.4f} on {len(found)} test rows")


def _said(opened: Mapping[str, Predictor], rows: JudgedRows, *, kind: "Numeric", title: str) -> dict[str, FloatArray]:
    with progress(title, total=len(opened) * len(rows.texts)) as advance:
        return {
            name: _of(model.predict(rows.texts, advance=partial(advance, f"model {name}")), kind=kind, names=rows.names)
            for name, model in opened.items()
        }


def _of(found: Sequence[Any], *, kind: "Numeric", names: Sequence[str]) -> FloatArray:
    return kind.answered(found, names=names)

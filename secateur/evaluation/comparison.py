"""The dense model and its rounds side by side: scores, costs, mistakes."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from secateur.budget.cost import Cost
from secateur.config.evaluate import EvaluateSection
from secateur.data.tokens import as_arrow
from secateur.evaluation.against_dense import classifier_change
from secateur.evaluation.changes import changes_of
from secateur.evaluation.compression import StoredSize
from secateur.evaluation.deployed import Deployed
from secateur.evaluation.metrics import Interval, confusion
from secateur.evaluation.robustness import Robustness
from secateur.evaluation.said import certainty_of, name_of, per_label_of_rows, said_by, scores_of_rows
from secateur.evaluation.slices import Mask, slice_scores
from secateur.files import replacing
from secateur.kinds.base import Kind
from secateur.readers.pairs import shown
from secateur.statistics.f1 import right_rows

MAX_ERRORS = 20


@dataclass(frozen=True)
class Evaluated:
    """One model on the test rows.

    Attributes:
        cost: what it costs.
        stored: what its weights take as a file.
        widths: of its layers, as in its card.
        dense_widths: of the dense model.
        logits: of the test rows, (rows, C) fp32.
        accepted: whether the round held the quality floor; None for the dense model.
        deployed: the form that goes into production.
        kind: of task.
        robustness: scores under attack; None when none were asked for.
    """

    cost: Cost
    stored: StoredSize
    widths: Mapping[str, Any]
    dense_widths: Mapping[str, Any]
    logits: Tensor
    accepted: bool | None
    deployed: Deployed
    kind: Kind
    robustness: Robustness | None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """What is said of every row, see ``said``."""
        return said_by(self.logits, sets=self.kind.label_sets)

    @property
    def deployed_predicted(self) -> npt.NDArray[np.int64]:
        """What is said of every row in the form that goes into production."""
        return said_by(self.deployed.logits, sets=self.kind.label_sets)


def metrics_of(
    model: Evaluated, *, dense: Evaluated, labels: npt.NDArray[np.int64], settings: EvaluateSection, seed: int
) -> dict[str, float | int | bool]:
    """Return the entry of one model in metrics.json; no times.

    ``sparsity`` is the fraction of the parameters outside the embeddings that is gone. ``bytes`` belong to the
    parameters in memory, ``deployed_*`` to the form that goes into production; of a round, ``deployed_change`` and what
    follows it compare that form with the dense model of PyTorch, row by row (see ``classifier_change``). ``robust_*``
    are there when models were attacked: the mean over the attacks, and what it is below the clean score of those rows.
    """
    intervals = _scores(labels, model.predicted, model.logits, settings=settings, seed=seed)
    entry = costs_of(model, dense=dense) | {"loss": float(model.kind.loss(model.logits, torch.from_numpy(labels)))}
    for name, interval in intervals.items():
        entry |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    entry |= _deployed_metrics(model, labels, settings=settings, seed=seed)
    if model.robustness is not None:
        entry |= {"robust_macro_f1": model.robustness.robust_macro_f1, "robust_drop": model.robustness.robust_drop}
    if model.accepted is not None:
        entry |= classifier_change(
            labels,
            dense=dense.predicted,
            pruned=model.deployed_predicted,
            num_labels=model.logits.shape[-1],
            settings=settings,
            seed=seed,
        )
        entry["accepted"] = model.accepted
    return entry


def costs_of(model: Evaluated, *, dense: Evaluated) -> dict[str, float | int | bool]:
    """Return what the entry of one model in metrics.json says of its size."""
    return {
        "params": model.cost.params,
        "nonembedding_params": model.cost.nonembedding_params,
        "sparsity": 1.0 - _nonzero(model) / dense.cost.nonembedding_params,
        "macs": model.cost.macs,
        "bytes": model.cost.bytes,
        "compressed_bytes": model.stored.compressed_bytes,
    }


def _scores(
    labels: npt.NDArray[np.int64], said: npt.NDArray[np.int64], logits: Tensor, *, settings: EvaluateSection, seed: int
) -> dict[str, Interval]:
    return scores_of_rows(
        labels,
        said,
        num_labels=logits.shape[-1],
        samples=settings.bootstrap_samples,
        level=settings.confidence_level,
        seed=seed,
    )


def _deployed_metrics(
    model: Evaluated, labels: npt.NDArray[np.int64], *, settings: EvaluateSection, seed: int
) -> dict[str, float | int]:
    deployed = model.deployed
    intervals = _scores(labels, model.deployed_predicted, deployed.logits, settings=settings, seed=seed)
    quality = intervals["macro_f1"]
    return {
        "deployed_macro_f1": quality.value,
        "deployed_macro_f1_low": quality.low,
        "deployed_macro_f1_high": quality.high,
        "deployed_accuracy": intervals["accuracy"].value,
        "deployed_bytes": deployed.bytes,
    }


def details_of(
    model: Evaluated,
    *,
    dense: Evaluated,
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    texts: Sequence[str],
    slices: Mapping[str, Mask],
) -> dict[str, Any]:
    """Return the entry of one model in details.json.

    It holds confusion (of several labels per row the number of wrong rows instead), scores per label and per slice,
    widths, mistakes, attacks, and for all but the dense model (told by ``accepted``, which only a round has) what
    changed against it.
    """
    attacked = {} if model.robustness is None else {"robustness": asdict(model.robustness)}
    changed = {}
    if model.accepted is not None:
        changed["changes"] = changes_of(
            model.logits, dense=dense.logits, labels=labels, names=names, texts=texts, slices=slices
        )
    if labels.ndim == 1:
        mistaken = {"confusion": confusion(labels, model.predicted, num_labels=len(names)).tolist()}
    else:
        mistaken = {"mistakes": int((~right_rows(labels, model.predicted)).sum())}
    scored = per_label_of_rows(labels, model.predicted, num_labels=len(names))
    scores = slice_scores(slices, labels=labels, predicted=model.predicted, num_labels=len(names))
    return {
        **attacked,
        **changed,
        "slices": {name: asdict(score) for name, score in scores.items()},
        **mistaken,
        "per_class": dict(zip(names, scored, strict=True)),
        "widths": dict(model.widths),
        "dense_widths": dict(model.dense_widths),
        "errors": mistakes(model, labels=labels, names=names, texts=texts),
    }


def mistakes(
    model: Evaluated, *, labels: npt.NDArray[np.int64], names: Sequence[str], texts: Sequence[str]
) -> list[dict[str, str | float]]:
    """Return the wrong predictions the model was surest of, at most ``MAX_ERRORS``, the surest first."""
    certainty, predicted = certainty_of(model.logits, truth=labels), model.predicted
    wrong = np.flatnonzero(~right_rows(labels, predicted))
    surest = wrong[np.argsort(-certainty[wrong], kind="stable")][:MAX_ERRORS]
    return [
        {
            "text": shown(texts[row]),
            "label": name_of(names, labels[row]),
            "predicted": name_of(names, predicted[row]),
            "score": round(float(certainty[row]), 6),
        }
        for row in surest.tolist()
    ]


def predictions_of(
    models: Mapping[str, Evaluated], *, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> pa.Table:
    """Return row number in the source, label, and one column of predictions per model."""
    said = {name: as_arrow(model.predicted) for name, model in models.items()}
    return pa.table({"row": rows, "label": as_arrow(labels)} | said)


def write_plot(path: Path, metrics: Mapping[str, Mapping[str, Any]], *, scores: Sequence[str]) -> None:
    """Write quality against cost as CSV, one line per model; ``scores`` are the entries that say its quality."""
    names = ("params", "macs", "sparsity", *scores)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", *names])
        writer.writerows([model, *(repr(entry[name]) for name in names)] for model, entry in metrics.items())


def _nonzero(model: Evaluated) -> int:
    """Count the parameters outside the embeddings, less the weights that are zero."""
    return model.cost.nonembedding_params - (model.stored.num_weights - model.stored.num_nonzero)

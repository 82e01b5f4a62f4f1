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
from torch.nn.functional import cross_entropy

from secateur.budget.cost import Cost
from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.against_dense import classifier_change
from secateur.evaluation.changes import changes_of
from secateur.evaluation.compression import StoredSize
from secateur.evaluation.deployed import Deployed
from secateur.evaluation.metrics import bootstrap, confusion, per_label
from secateur.evaluation.robustness import Robustness
from secateur.evaluation.slices import Mask, slice_scores
from secateur.files import replacing
from secateur.readers.pairs import shown

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
        robustness: scores under attack; None when none were asked for.
    """

    cost: Cost
    stored: StoredSize
    widths: Mapping[str, Any]
    dense_widths: Mapping[str, Any]
    logits: Tensor
    accepted: bool | None
    deployed: Deployed
    robustness: Robustness | None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable label of every row, (rows,)."""
        found: npt.NDArray[np.int64] = self.logits.argmax(dim=-1).numpy()
        return found


def metrics_of(
    model: Evaluated, *, dense: Evaluated, labels: npt.NDArray[np.int64], settings: EvaluateSection, seed: int
) -> dict[str, float | int | bool]:
    """Return the entry of one model in metrics.json; no times.

    ``sparsity`` is the fraction of the parameters outside the embeddings that is gone. ``bytes`` belong to the
    parameters in memory, ``deployed_*`` to the form that goes into production; of a round, ``deployed_change`` and what
    follows it compare that form with the dense model of PyTorch, row by row (see ``classifier_change``). ``robust_*``
    are there when models were attacked: the mean over the attacks, and what it is below the clean score of those rows.
    """
    counts = confusion(labels, model.predicted, num_labels=model.logits.shape[-1])
    intervals = bootstrap(counts, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
    entry: dict[str, float | int | bool] = {
        "params": model.cost.params,
        "nonembedding_params": model.cost.nonembedding_params,
        "sparsity": 1.0 - _nonzero(model) / dense.cost.nonembedding_params,
        "macs": model.cost.macs,
        "bytes": model.cost.bytes,
        "compressed_bytes": model.stored.compressed_bytes,
        "loss": float(cross_entropy(model.logits, torch.from_numpy(labels))),
    }
    for name, interval in intervals.items():
        entry |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    entry |= _deployed_metrics(model.deployed, labels, settings=settings, seed=seed)
    if model.robustness is not None:
        entry |= {"robust_macro_f1": model.robustness.robust_macro_f1, "robust_drop": model.robustness.robust_drop}
    if model.accepted is not None:
        entry |= classifier_change(
            labels,
            dense=dense.predicted,
            pruned=model.deployed.predicted,
            num_labels=model.logits.shape[-1],
            settings=settings,
            seed=seed,
        )
        entry["accepted"] = model.accepted
    return entry


def _deployed_metrics(
    deployed: Deployed, labels: npt.NDArray[np.int64], *, settings: EvaluateSection, seed: int
) -> dict[str, float | int]:
    counts = confusion(labels, deployed.predicted, num_labels=deployed.logits.shape[-1])
    intervals = bootstrap(counts, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
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

    It holds confusion, scores per label and per slice, widths, mistakes, attacks, and for all but the dense model
    (told by ``accepted``, which only a round has) what changed against it.
    """
    counts = confusion(labels, model.predicted, num_labels=len(names))
    attacked = {} if model.robustness is None else {"robustness": asdict(model.robustness)}
    changed = {}
    if model.accepted is not None:
        changed["changes"] = changes_of(
            model.logits, dense=dense.logits, labels=labels, names=names, texts=texts, slices=slices
        )
    scores = slice_scores(slices, labels=labels, predicted=model.predicted, num_labels=len(names))
    return {
        **attacked,
        **changed,
        "slices": {name: asdict(score) for name, score in scores.items()},
        "confusion": counts.tolist(),
        "per_class": dict(zip(names, per_label(counts), strict=True)),
        "widths": dict(model.widths),
        "dense_widths": dict(model.dense_widths),
        "errors": mistakes(model, labels=labels, names=names, texts=texts),
    }


def mistakes(
    model: Evaluated, *, labels: npt.NDArray[np.int64], names: Sequence[str], texts: Sequence[str]
) -> list[dict[str, str | float]]:
    """Return the wrong predictions the model was surest of, at most ``MAX_ERRORS``, the surest first."""
    certainty, predicted = torch.softmax(model.logits, dim=-1).max(dim=-1)
    wrong = np.flatnonzero(predicted.numpy() != labels)
    surest = wrong[np.argsort(-certainty.numpy()[wrong], kind="stable")][:MAX_ERRORS]
    return [
        {
            "text": shown(texts[row]),
            "label": names[labels[row]],
            "predicted": names[int(predicted[row])],
            "score": round(float(certainty[row]), 6),
        }
        for row in surest.tolist()
    ]


def predictions_of(
    models: Mapping[str, Evaluated], *, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> pa.Table:
    """Return row number in the source, label, and one column of predictions per model."""
    return pa.table({"row": rows, "label": labels} | {name: model.predicted for name, model in models.items()})


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

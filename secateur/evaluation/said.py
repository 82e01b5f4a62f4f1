"""What a classifier says of rows: the index of one label, or 0 and 1 for every label where a row may have several.

The array tells which: (rows,) or (rows, C). What scores, counts and shows rows takes either.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.evaluation.metrics import IntArray, Interval, bootstrap, confusion, per_label
from secateur.readers import label_sets
from secateur.statistics.bootstrap import resampled_sums
from secateur.statistics.f1 import f1_of, of_each, ratio, right_rows


def said_by(logits: Tensor, *, sets: bool) -> IntArray:
    """Return the most probable label of every row, or 1 for every label whose logit is above 0."""
    found: IntArray = ((logits > 0).long() if sets else logits.argmax(dim=-1)).numpy()
    return found


def certainty_of(logits: Tensor, *, truth: IntArray) -> npt.NDArray[np.float32]:
    """Return how sure a model is of what it says of every row, (rows,).

    That is the probability of the label that it says; of several labels that of what is said of one of them, present or
    not: of the surest that is wrong, or where none is, of the one it is least sure of.
    """
    if truth.ndim == 1:
        return np.asarray(torch.softmax(logits, dim=-1).max(dim=-1).values.numpy(), np.float32)
    said = torch.sigmoid(logits.abs()).numpy()
    wrong = said_by(logits, sets=True) != truth
    sure = np.where(wrong.any(axis=1), np.where(wrong, said, 0.0).max(axis=1), said.min(axis=1))
    return np.asarray(sure, np.float32)


def name_of(names: Sequence[str], said: Any) -> str:
    """Return what is said of one row for people: the name of an index, or of all labels that are 1."""
    if np.ndim(said) == 0:
        return names[int(said)] if said >= 0 else "another label"
    return label_sets.shown(label_sets.as_set(name for name, has in zip(names, said, strict=True) if has))


def scores_of_rows(
    truth: IntArray, said: IntArray, *, num_labels: int, samples: int, level: float, seed: int
) -> dict[str, Interval]:
    """Return ``accuracy`` and ``macro_f1`` with percentile intervals, of several labels ``micro_f1`` as well.

    Accuracy is the share of rows that are right, of several labels in all of them.

    Args:
        truth: of every row.
        said: of every row.
        num_labels: C.
        samples: resamples.
        level: probability that an interval covers.
        seed: of the resampling.
    """
    if truth.ndim == 1:
        counts = confusion(truth, said, num_labels=num_labels)
        return bootstrap(counts, samples=samples, level=level, seed=seed)
    return intervals_of_sets(counted_rows(truth, said), samples=samples, level=level, seed=seed)


def per_label_of_rows(truth: IntArray, said: IntArray, *, num_labels: int) -> list[dict[str, float | int]]:
    """Return precision, recall, f1 and support of every label, in label order."""
    if truth.ndim == 1:
        return per_label(confusion(truth, said, num_labels=num_labels))
    true, found = (of_each(rows, num_labels=num_labels) for rows in (truth, said))
    hits, support, num_said = (true & found).sum(axis=0), true.sum(axis=0), found.sum(axis=0)
    return [
        {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for p, r, f, s in zip(
            ratio(hits, num_said), ratio(hits, support), f1_of(hits, support, num_said), support, strict=True
        )
    ]


def counted_rows(truth: IntArray, said: IntArray) -> npt.NDArray[np.float64]:
    """Return what the scores of rows with several labels are sums of, (rows, 3 C + 1).

    Hits, labels and labels that are said, for every label, and whether all of them are right.
    """
    true, found = truth.astype(np.bool_), said.astype(np.bool_)
    columns = (true & found, true, found, right_rows(truth, said)[:, None])
    return np.concatenate(columns, axis=1).astype(np.float64)


def scores_of_sums(
    sums: npt.NDArray[np.float64], *, rows: int, among: npt.NDArray[np.bool_] | None = None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores from sums of ``counted_rows`` over so many rows, (..., 3 C + 1).

    Args:
        sums: of the columns.
        rows: that were summed.
        among: labels whose F1 is averaged, (C,); all unless given.
    """
    hits, support, said = np.split(sums[..., :-1], 3, axis=-1)
    f1 = f1_of(hits, support, said)
    return {
        "accuracy": sums[..., -1] / rows,
        "macro_f1": np.asarray((f1 if among is None else f1[..., among]).mean(axis=-1)),
        "micro_f1": f1_of(hits.sum(axis=-1), support.sum(axis=-1), said.sum(axis=-1)),
    }


def intervals_of_sets(
    counts: npt.NDArray[np.float64],
    *,
    samples: int,
    level: float,
    seed: int,
    among: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Interval]:
    """Return the scores of rows with several labels, with percentile intervals over resampled rows.

    Args:
        counts: from ``counted_rows``, at least one row.
        samples: resamples.
        level: probability that an interval covers.
        seed: of the resampling.
        among: as in ``scores_of_sums``.
    """
    found = scores_of_sums(counts.sum(axis=0), rows=len(counts), among=among)
    distinct, rows = np.unique(counts, axis=0, return_counts=True)  # of few labels, many rows are alike
    sums = resampled_sums(distinct, counts=rows, samples=samples, seed=seed)
    drawn = scores_of_sums(sums, rows=len(counts), among=among)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    ends = {name: np.quantile(values, tails) for name, values in drawn.items()}
    return {name: Interval(float(value), *map(float, ends[name])) for name, value in found.items()}

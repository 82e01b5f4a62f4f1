"""What a pruned model gets wrong that the dense one got right, and the reverse."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from secateur.evaluation.said import certainty_of, name_of, said_by
from secateur.evaluation.slices import Mask
from secateur.readers.pairs import shown
from secateur.statistics.f1 import right_rows

MAX_CHANGES = 12


def changes_of(
    logits: Tensor,
    *,
    dense: Tensor,
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    texts: Sequence[str],
    slices: Mapping[str, Mask],
) -> dict[str, Any]:
    """Count the rows on which two models disagree about being right, and keep the clearest of them.

    Args:
        logits: of the pruned model, (rows, C).
        dense: of the dense model, (rows, C).
        labels: index of the true label of every row, (rows,); or 0 and 1 for every label, (rows, C).
        names: of the labels.
        texts: of the rows.
        slices: name -> which rows belong to it.

    Returns:
        ``both_right``, ``lost`` (only dense is right), ``gained`` (only the pruned model is right), ``both_wrong``:
        numbers of rows. ``lost_examples`` and ``gained_examples``: at most ``MAX_CHANGES`` each, those first in which
        the model that is wrong was surest.
    """
    sets = labels.ndim == 2
    certainty, dense_certainty = (certainty_of(found, truth=labels) for found in (logits, dense))
    predicted, dense_predicted = (said_by(found, sets=sets) for found in (logits, dense))
    right, dense_right = right_rows(labels, predicted), right_rows(labels, dense_predicted)

    def example(row: int) -> dict[str, Any]:
        return {
            "text": shown(texts[row]),
            "label": name_of(names, labels[row]),
            "dense": name_of(names, dense_predicted[row]),
            "dense_score": round(float(dense_certainty[row]), 6),
            "predicted": name_of(names, predicted[row]),
            "score": round(float(certainty[row]), 6),
            "slices": [name for name, mask in slices.items() if mask[row]],
        }

    lost, gained = np.flatnonzero(dense_right & ~right), np.flatnonzero(right & ~dense_right)
    return {
        "both_right": int((right & dense_right).sum()),
        "lost": len(lost),
        "gained": len(gained),
        "both_wrong": int((~right & ~dense_right).sum()),
        "lost_examples": [example(row) for row in _surest(lost, certainty)],
        "gained_examples": [example(row) for row in _surest(gained, dense_certainty)],
    }


def _surest(rows: npt.NDArray[np.int64], certainty: npt.NDArray[np.float32]) -> list[int]:
    found: list[int] = rows[np.argsort(-certainty[rows], kind="stable")][:MAX_CHANGES].tolist()
    return found

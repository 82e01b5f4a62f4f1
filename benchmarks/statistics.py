"""Quality of several seeds of one method, with intervals over the test rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secateur.evaluation.metrics import confusion, macro_f1

Labels = npt.NDArray[np.int64]

_SAMPLES = 1000


@dataclass(frozen=True)
class Quality:
    """Test macro-F1, in [0, 1].

    Attributes:
        macro_f1: median over the seeds.
        low: 2.5th percentile of that median when the test rows are resampled.
        high: 97.5th percentile.
        lost: macro-F1 of the dense model less ``macro_f1``.
        lost_low: 2.5th percentile of the difference, both scored on the same resampled rows.
        lost_high: 97.5th percentile.
        seeds: macro-F1 of every seed.
    """

    macro_f1: float
    low: float
    high: float
    lost: float
    lost_low: float
    lost_high: float
    seeds: list[float]


def quality_of(predicted: Labels, *, dense: Labels, labels: Labels) -> Quality:
    """Score the seeds of a method, (seeds, rows), against the dense model, (rows,)."""
    num_labels = int(max(labels.max(), dense.max(), predicted.max())) + 1
    num_rows = len(labels)
    weights = np.random.default_rng(0).multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=_SAMPLES)

    def resampled(of: Labels) -> npt.NDArray[np.float64]:
        cells = np.eye(num_labels**2)[labels * num_labels + of]
        return macro_f1((weights @ cells).reshape(-1, num_labels, num_labels))

    def scored(of: Labels) -> float:
        return float(macro_f1(confusion(labels, of, num_labels=num_labels)))

    seeds = [scored(row) for row in predicted]
    medians = np.median([resampled(row) for row in predicted], axis=0)
    low, high = np.quantile(medians, (0.025, 0.975)).tolist()
    lost_low, lost_high = np.quantile(resampled(dense) - medians, (0.025, 0.975)).tolist()
    median = float(np.median(seeds))
    return Quality(median, low, high, scored(dense) - median, lost_low, lost_high, seeds)

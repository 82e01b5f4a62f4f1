"""A pruned model as it is deployed, against the dense one on the same rows: is the difference more than chance?"""

import numpy as np

from secateur.config.evaluate import EvaluateSection
from secateur.statistics.discordant import Discordant, FloatArray, IntArray, mcnemar
from secateur.statistics.f1 import macro_f1_of_rows
from secateur.statistics.paired import bootstrap_growth, bootstrap_macro_f1


def classifier_change(
    labels: IntArray, *, dense: IntArray, pruned: IntArray, num_labels: int, settings: EvaluateSection, seed: int
) -> dict[str, float | int]:
    """Return what becomes of macro-F1 and of the rows.

    Args:
        labels: index of the true label of every row, (rows,); or 0 and 1 for every label, (rows, C).
        dense: predicted by the dense model, as ``labels``.
        pruned: predicted by the other one.
        num_labels: C.
        settings: resamples and level of the interval.
        seed: of the resampling.

    Returns:
        ``deployed_change``: macro-F1 less that of dense, with the percentile interval ``_low`` and ``_high`` of paired
        resamples; ``deployed_lost``: rows that only dense gets right; ``deployed_won``: rows that only the other gets
        right; ``deployed_p_value``: of "both are right equally often" (exact McNemar).
    """
    counts = Discordant.of(labels, dense, pruned)
    resampled = bootstrap_macro_f1(
        labels, dense, pruned, num_labels=num_labels, samples=settings.bootstrap_samples, seed=seed
    )
    before, after = (macro_f1_of_rows(labels, found, num_labels=num_labels) for found in (dense, pruned))
    return {
        **_interval("deployed_change", after - before, resampled, level=settings.confidence_level),
        "deployed_lost": counts.lost,
        "deployed_won": counts.won,
        "deployed_p_value": mcnemar(counts),
    }


def perplexity_change(
    *, dense: FloatArray, pruned: FloatArray, tokens: IntArray, settings: EvaluateSection, seed: int
) -> dict[str, float]:
    """Return ``perplexity_change``, the growth of perplexity relative to dense, with ``_low`` and ``_high``.

    With characters for tokens it is that of the perplexity per character, and either may be any other predictor.

    Args:
        dense: loss of every text by the dense model, in nats, (texts,).
        pruned: by the other one.
        tokens: of every text, as the dense model spells it, (texts,).
        settings: resamples and level of the interval.
        seed: of the resampling.
    """
    resampled = bootstrap_growth(dense, pruned, characters=tokens, samples=settings.bootstrap_samples, seed=seed)
    growth = float(np.expm1((pruned - dense).sum() / tokens.sum()))
    return _interval("perplexity_change", growth, resampled, level=settings.confidence_level)


def _interval(name: str, value: float, resampled: FloatArray, *, level: float) -> dict[str, float]:
    low, high = np.quantile(resampled, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}

"""Is the model worth more than what needs no network? A paired test on the test rows, and a sentence when it is not."""

from collections.abc import Mapping

import numpy as np

from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.against_dense import perplexity_change
from secateur.evaluation.perplexity import DocumentLosses
from secateur.statistics.discordant import Discordant, IntArray, lowest_change, mcnemar
from secateur.statistics.margins import USUAL

_LEVEL = 0.05


def against_simple_baseline(labels: IntArray, *, model: IntArray, reference: IntArray) -> dict[str, float | int]:
    """Return the rows that only one of the two gets right.

    Args:
        labels: index of the true label of every row, (rows,), at least one; or 0 and 1 for every label, (rows, C).
        model: predicted by the model, as ``labels``.
        reference: predicted by the simple classifier.

    Returns:
        ``only_model`` and ``only_reference`` (rows), ``p_value`` of "both are right equally often" (exact McNemar), and
        ``most_gained``: the one-sided upper bound (95 %) of the model's accuracy less the simple classifier's.
    """
    counts = Discordant.of(labels, reference, model)
    return {
        "only_model": counts.won,
        "only_reference": counts.lost,
        "p_value": mcnemar(counts),
        "most_gained": -lowest_change(Discordant.of(labels, model, reference), level=_LEVEL),
    }


def verdict(name: str, reference: Mapping[str, float], *, model: str, macro_f1: float) -> str | None:
    """Say that the simple classifier wins, is as good, or is not shown to be worse; None when the model is better.

    "As good" takes proof: the model's gain is shown to be below what the gate takes for harmless. No proof of a
    difference on few rows is none of equality.

    Args:
        name: of the simple classifier.
        reference: its scores, and what ``against_simple_baseline`` found.
        model: what the model is called.
        macro_f1: of the model, on the same rows.
    """
    won, lost, p_value = int(reference["only_model"]), int(reference["only_reference"]), reference["p_value"]
    if won > lost and p_value < _LEVEL:
        return None
    scores = (
        f"{name} (macro-F1 {reference['macro_f1']:.4f} against {macro_f1:.4f}; {lost} test rows that only it gets "
        f"right against {won}, p = {p_value:.2g})"
    )
    if lost > won and p_value < _LEVEL:
        return f"Needed no network and is better than the {model} model: {scores}"
    if reference["most_gained"] < USUAL:
        return f"Needed no network and is as good as the {model} model: {scores}"
    return f"Too few test rows to show that the {model} model is better than what needs no network: {scores}"


def verdict_on_texts(
    name: str, simple: DocumentLosses, *, model: DocumentLosses, settings: EvaluateSection, seed: int
) -> str | None:
    """Say that n-grams predict texts better than a generator, or are not shown to be worse; else None.

    Args:
        name: of the n-grams.
        simple: their losses.
        model: those of the generator, of the same texts in the same order.
        settings: resamples and level of the interval.
        seed: of the resampling.
    """
    found = perplexity_change(
        dense=simple.losses, pruned=model.losses, tokens=simple.characters, settings=settings, seed=seed
    )
    low, high = found["perplexity_change_low"], found["perplexity_change_high"]
    if high < 0.0:
        return None
    by_simple, by_model = (np.exp(losses.losses.sum() / simple.characters.sum()) for losses in (simple, model))
    scores = (
        f"{name} (perplexity per character {by_simple:.2f} against {by_model:.2f}; that of the model is "
        f"{low:+.1%} to {high:+.1%} higher)"
    )
    if low > 0.0:
        return f"Needed no network and is better than the dense model: {scores}"
    return f"Too few test texts to show that the dense model is better than what needs no network: {scores}"

"""Is the model worth more than what needs no network? A paired test on the test rows, and a sentence when it is not."""

from collections.abc import Mapping

from secateur.statistics.paired import Discordant, IntArray, mcnemar

_LEVEL = 0.05


def against_simple_baseline(labels: IntArray, *, model: IntArray, reference: IntArray) -> dict[str, float | int]:
    """Return the rows that only one of the two gets right.

    Args:
        labels: index of the true label of every row, (rows,).
        model: predicted by the model, (rows,).
        reference: predicted by the simple classifier, (rows,).

    Returns:
        ``only_model`` and ``only_reference`` (rows), and ``p_value`` of "both are right equally often" (exact McNemar).
    """
    counts = Discordant.of(labels, reference, model)
    return {"only_model": counts.won, "only_reference": counts.lost, "p_value": mcnemar(counts)}


def verdict(name: str, reference: Mapping[str, float], *, model: str, macro_f1: float) -> str | None:
    """Say that the simple classifier wins or is as good; None when the model is better by more than chance.

    Args:
        name: of the simple classifier.
        reference: its scores, and what ``against_simple_baseline`` found.
        model: what the model is called.
        macro_f1: of the model, on the same rows.
    """
    won, lost, p_value = int(reference["only_model"]), int(reference["only_reference"]), reference["p_value"]
    if won > lost and p_value < _LEVEL:
        return None
    word = "better than" if lost > won and p_value < _LEVEL else "as good as"
    return (
        f"Needed no network and is {word} the {model} model: {name} (macro-F1 {reference['macro_f1']:.4f} against "
        f"{macro_f1:.4f}; {lost} test rows that only it gets right against {won}, p = {p_value:.2g})"
    )

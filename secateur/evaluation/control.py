"""Control accuracy: does a classifier find in a generated text what its control token asked for?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secateur.errors import ConfigError
from secateur.evaluation.metrics import Interval
from secateur.inference.prediction import Predictor
from secateur.inference.writing import Written
from secateur.statistics.shares import wilson


@dataclass(frozen=True)
class Control:
    """What a judge said of the texts of one model.

    Attributes:
        accuracy: share of the texts that got the label that was asked for.
        per_label: the same for the texts of every label.
    """

    accuracy: Interval
    per_label: Mapping[str, float]


def require_labels(judge: Predictor, labels: Sequence[str]) -> None:
    """Refuse a judge that cannot say what is asked.

    Raises:
        ConfigError: there is nothing to ask for, or the judge does not know a label, or gives a text several.
    """
    if judge.sets:
        raise ConfigError("evaluate.judge gives a text any number of labels; a classifier of one label would work")
    if not labels:
        raise ConfigError("evaluate.judge needs a generator with control tokens (baseline.control: true); it has none")
    missing = [label for label in labels if label not in judge.labels]
    if missing:
        raise ConfigError(
            f"evaluate.judge does not know {', '.join(missing)}; it tells {', '.join(judge.labels)}, "
            f"the generator can be asked for {', '.join(labels)}"
        )


def control_of(judge: Predictor, texts: Sequence[Written], *, level: float) -> Control:
    """Compare the judge's labels with those that were asked for.

    Args:
        judge: a classifier that knows every label.
        texts: at least one per label, each written for a label.
        level: of the interval of Wilson (1927), which holds for shares near 0 and 1 too.
    """
    hits: dict[str, list[bool]] = {}
    for text, said in zip(texts, judge.predict([text.text for text in texts]), strict=True):
        hits.setdefault(str(text.label), []).append(said.label == text.label)
    every = [hit for found in hits.values() for hit in found]
    return Control(
        accuracy=share_interval(sum(every), len(every), level=level),
        per_label={label: sum(found) / len(found) for label, found in hits.items()},
    )


def share_interval(hits: int, count: int, *, level: float) -> Interval:
    """Return a share with its score interval (Wilson 1927)."""
    low, high = wilson(hits, count, level=level)
    return Interval(value=hits / count, low=low, high=high)

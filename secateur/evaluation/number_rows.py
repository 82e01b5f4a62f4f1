"""What a model that tells numbers says of somebody's rows, and what it is worth on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.evaluation.metrics import FloatArray, Interval
from secateur.evaluation.row_scores import Measured
from secateur.inference.answers import Answers
from secateur.inference.prediction import Predictor, read_of
from secateur.readers.numbers import as_number
from secateur.statistics.numbers import Scoring


def numbers_of_rows(model: Predictor, texts: Sequence[str]) -> Answers:
    """Return the number of every text."""
    found = model.predict(texts)
    return Answers({"number": [one.number for one in found]}, **read_of(found))


def grades_of_rows(model: Predictor, texts: Sequence[str]) -> Answers:
    """Return the grade of every text, and where between the grades it is."""
    found = model.predict(texts)
    columns: dict[str, list[Any]] = {"grade": [one.label for one in found], "value": [one.value for one in found]}
    return Answers(columns, **read_of(found))


def no_grades(model: Predictor, labels: Sequence[str]) -> list[str]:
    """Return those of some labels that are none of the model's grades."""
    known = {float(grade) for grade in model.labels}
    return [label for label in labels if as_number(label) not in known]


def true_and_said_grade(model: Predictor, texts: Sequence[str], labels: Sequence[str | None]) -> Measured:
    """Return the place of the grade of every row, and of the one that is said, (N, 2)."""
    place = {float(grade): index for index, grade in enumerate(model.labels)}
    found = model.predict(texts)
    pairs = [(place[float(str(label))], place[float(one.label)]) for label, one in zip(labels, found, strict=True)]
    return Measured(np.array(pairs, np.float64), **read_of(found))


def no_numbers(labels: Sequence[str]) -> list[str]:
    """Return those of some labels that are no numbers."""
    return [label for label in labels if as_number(label) is None]


def true_and_said(model: Predictor, texts: Sequence[str], labels: Sequence[str | None]) -> Measured:
    """Return the number of every row, and the one that is said, (N, 2)."""
    found = model.predict(texts)
    pairs = [(float(str(label)), one.number) for label, one in zip(labels, found, strict=True)]
    return Measured(np.array(pairs, np.float64), **read_of(found))


def intervals_of(
    scoring: Scoring, truth: FloatArray, said: FloatArray, *, samples: int, level: float, seed: int
) -> dict[str, Interval]:
    """Return the scores with percentile intervals over resampled rows."""
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    drawn = scoring.resampled(truth, said, samples=samples, seed=seed)
    return {
        name: Interval(value, *map(float, np.quantile(drawn[name], tails)))
        for name, value in scoring.of(truth, said).items()
    }

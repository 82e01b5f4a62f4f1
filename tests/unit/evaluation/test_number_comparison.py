"""Answers of models of another time on the test rows of today."""

import numpy as np
import pytest

from secateur.inference.prediction import Prediction
from secateur.kinds.numeric import Numeric
from secateur.kinds.registry import kind_named


def answer(label: str, number: float) -> Prediction:
    return Prediction(label=label, score=float("nan"), scores={}, number=number)


def numeric(name: str) -> Numeric:
    kind = kind_named(name)
    assert isinstance(kind, Numeric)
    return kind


def test_grades_are_those_that_are_said_whatever_places_a_model_counts() -> None:
    """The champion knows 1 to 5; today rows have 0 as well, and none has 4."""
    said = [answer(str(grade), grade - 1 + 0.2) for grade in (1, 3, 5)]
    names = ("0", "1", "2", "3", "5")
    np.testing.assert_array_equal(numeric("ordinal").answered(said, names=names), [1.0, 3.0, 4.0])
    assert numeric("ordinal").answered([answer("4", 3.1)], names=names)[0] in (3.0, 4.0)
    same = ("1", "2", "3", "4", "5")
    places = np.array([one.number for one in said])
    np.testing.assert_array_equal(
        numeric("ordinal").answered(said, names=same), numeric("ordinal").told(places, names=same)
    )


def test_a_number_is_itself() -> None:
    assert numeric("regression").answered([answer("3.5", 3.5)], names=()) == pytest.approx([3.5])

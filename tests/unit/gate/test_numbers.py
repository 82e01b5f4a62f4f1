"""The gate of models that tell numbers."""

import numpy as np

from secateur.config.promote import PromoteSection
from secateur.gate.condition import Condition
from secateur.gate.numbers import NumberRows, Told, explained_on, judge_numbers
from secateur.quality import R2
from secateur.statistics.numbers import NUMBERS

DRAW = np.random.default_rng(0)
TRUTH = DRAW.normal(100.0, 10.0, 600)
NOISE = DRAW.normal(0.0, 4.0, 600)
HALF = np.arange(600) < 300
SETTINGS = PromoteSection()


def told(said: np.ndarray) -> Told:
    return Told(said, bytes=1000, latency_ms=[1.0] * 5)


def judged(challenger: np.ndarray, champion: np.ndarray | None = None, **changes: object) -> dict[str, Condition]:
    rows = NumberRows(TRUTH, {"half": HALF}, scoring=NUMBERS, measure=R2, least=0.5, seed=0)
    settings = SETTINGS.model_copy(update=changes)
    found = judge_numbers(
        rows, challenger=told(challenger), champion=None if champion is None else told(champion), settings=settings
    )
    return {condition.name: condition for condition in found}


def test_a_model_alone_has_a_floor() -> None:
    found = judged(TRUTH + NOISE)
    assert list(found) == ["quality_floor", "latency", "size", "slices"]
    assert found["quality_floor"].passed and "R² of 0.5000 or more" in found["quality_floor"].asked
    assert not judged(np.full(600, 100.0))["quality_floor"].passed


def test_a_challenger_must_be_shown_to_lose_little() -> None:
    near = judged(TRUTH + NOISE + DRAW.normal(0.0, 0.3, 600), TRUTH + NOISE)["quality_drop"]
    assert near.passed and "challenger_r2" in near.values
    worse = judged(TRUTH + 1.3 * NOISE, TRUTH + NOISE)["quality_drop"]
    assert not worse.passed and "R² fell from" in worse.reason


def test_a_slice_is_judged_by_what_it_explains_of_all() -> None:
    bad = TRUTH + NOISE + np.where(HALF, 6.0, 0.0)
    found = judged(bad, TRUTH + NOISE)["slices"]
    assert not found.passed and "half: explained fell from" in found.reason
    assert explained_on(HALF, truth=TRUTH, said=TRUTH) == 1.0

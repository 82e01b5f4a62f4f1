"""Windows of the traffic: what is drift, and what is chance."""

import numpy as np
import pytest

from secateur.data.scripts import script_of
from secateur.kinds.registry import kind_named
from secateur.scheduling.live import Measured, Unfinished
from secateur.serving.live.measures import OTHERS, Measure, answer_measures, deciles, text_measures
from secateur.serving.live.windows import LEVEL, Windows, judged


def _drawn(generator: np.random.Generator, shares: list[float], count: int) -> list[int]:
    found: list[int] = generator.multinomial(count, np.array(shares) / sum(shares)).tolist()
    return found


@pytest.mark.parametrize("sampled", [64, 1000])
def test_traffic_like_the_training_rows_is_drift_as_rarely_as_is_said(sampled: int) -> None:
    """Of 1 500 windows of a measure one or two may be; with 64 texts it is chance that decides, not the size."""
    generator, shares = np.random.default_rng(0), [0.1] * 10
    windows = [
        judged(
            {"lengths": _drawn(generator, shares, 1000)}, {"lengths": _drawn(generator, shares, sampled)}, texts=1000
        )
        for _ in range(1500)
    ]
    assert sum(bool(window.drifted) for window in windows) <= 3 * LEVEL * len(windows)
    assert windows[0].limits["lengths"] == (0.25 if sampled == 1000 else pytest.approx(0.4635))


def test_other_shares_are_drift_within_a_window() -> None:
    generator = np.random.default_rng(0)
    reference = {"labels": _drawn(generator, [3, 4, 3], 1000)}
    assert judged(reference, {"labels": _drawn(generator, [6, 3, 1], 1000)}, texts=1000).drifted == ("labels",)


def test_a_script_that_no_training_row_has_is_drift() -> None:
    scripts = next(measure for measure in text_measures([], tokens=False) if measure.name == "scripts")
    reference = {"scripts": scripts.count([script_of(["good day"])] * 997 + [script_of(["добрый день"])] * 3)}
    same = judged(reference, {"scripts": scripts.count(["Latin"] * 100)}, texts=100)
    other = judged(reference, {"scripts": scripts.count(["Latin"] * 80 + ["Greek"] * 20)}, texts=100)
    assert (same.drifted, other.drifted) == ((), ("scripts",))


def test_few_texts_say_nothing() -> None:
    assert judged({"labels": [500, 500]}, {"labels": [49, 0]}, texts=49).psi == {}


def test_a_window_ends_when_it_is_full_and_the_next_one_is_empty() -> None:
    labels = Measure("labels", names=("a", "b"))
    windows = Windows({"labels": labels}, {"labels": [50, 50, 0]}, size=100)
    windows.add("labels", ["a"] * 99)
    windows.took(99)
    assert windows.end() is None
    windows.add("labels", ["b"])
    windows.took(1)
    ended = windows.end()
    assert ended is not None
    assert (ended.texts, ended.drifted, windows.last) == (100, ("labels",), {"labels": [99, 1, 0]})
    assert (windows.texts, windows.counts, windows.total) == (0, {"labels": [0, 0, 0]}, 100)


@pytest.mark.parametrize(("edge", "texts", "counts"), [(0.5, 3, [1, 2]), (0.9, 0, [0, 0])])
def test_an_open_window_goes_on_in_the_same_bins_alone(edge: float, texts: int, counts: list[int]) -> None:
    """As many bins of other edges would be drift; and texts without their counts would end a window early."""
    before = [Measure("labels", names=("a",)), Measure("confidence", edges=(0.5,))]
    kept = [Measured(name=one.name, bins=one.bins, reference=None, current=(1, 2)) for one in before]
    now = {"labels": before[0], "confidence": Measure("confidence", edges=(edge,))}
    windows = Windows(now, {}, size=100)
    windows.resume(Unfinished(texts=3, counts={one.name: (1, 2) for one in before}), (), kept)
    assert (windows.texts, windows.counts) == (texts, {"labels": counts, "confidence": counts})


def test_no_measure_has_more_bins_than_a_hundred() -> None:
    """Else a model of 1 000 labels would make 1 000 lines of every scrape."""
    many = answer_measures(kind_named("classification"), [str(index) for index in range(1000)], {})[0]
    assert (len(many.bins), many.bins[-1]) == (100, OTHERS)
    assert many.place("998") == many.place("never heard of") == 99


def test_bins_of_numbers_are_deciles_and_say_so() -> None:
    measure = Measure("lengths", edges=deciles([float(value) for value in range(1, 101)]))
    assert measure.count(float(value) for value in range(1, 101)) == pytest.approx([10] * 10, abs=1)
    assert (measure.bins[0], measure.bins[1]) == ("below 10.9", "10.9 to 20.8")
    assert deciles([1.0] * 50) == (1.0,), "of equal values there is one edge"

"""The sentence at the top: which round, and what is said about it."""

import dataclasses

import pytest

from secateur.report.headline import headline, reference_runtime
from secateur.report.results import Interval, Timing, read_results
from tests.unit.report.run_fixture import report_data, rolled_back


def _with_last(*, macro_f1: float = 0.784, speedup: float = 2.3, spread: float = 0.015):
    results = read_results(report_data())
    timings = {"onnx": Timing(median_ms=5.92 / speedup, p95_ms=6.0, speedup=speedup)}
    score = Interval(macro_f1, macro_f1 - spread, macro_f1 + spread)
    return (*results[:-1], dataclasses.replace(results[-1], macro_f1=score, timings=timings))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "runs 2.3× faster than dense and loses 0.3 points"),
        ({"macro_f1": 0.7871}, "keeps its macro-F1"),
        ({"macro_f1": 0.797}, "gains 1.0 point of"),
        ({"speedup": 0.5}, "runs 2.0× slower than dense"),
        ({"speedup": 1.02}, "runs no faster than dense"),
        ({"macro_f1": 0.70}, "loses 8.7 points of macro-F1 (95\u00a0% intervals do not overlap)"),
    ],
)
def test_sentence(changes, said):
    assert said in headline(_with_last(**changes), confidence_level=0.95).sentence


def test_the_last_accepted_round_is_chosen_whatever_the_test_set_says():
    chosen = headline(_with_last(macro_f1=0.5), confidence_level=0.95)
    assert chosen.best is not None
    assert chosen.best.name == "r3"
    rolled = headline(read_results(report_data(**rolled_back("r2", "r3"))), confidence_level=0.95)
    assert rolled.best is not None
    assert rolled.best.name == "r1"


def test_the_deployed_runtime_is_spoken_of():
    assert reference_runtime(read_results(report_data())) == "onnx"
    assert reference_runtime(read_results(report_data(latency=None))) is None


def test_rounds_are_ordered_by_number():
    data = report_data()
    entry = data.metrics["rounds"]["r1"]
    rounds = {f"r{number}": entry for number in (10, 9, 2, 1)}
    ordered = read_results(dataclasses.replace(data, metrics={**data.metrics, "rounds": rounds}))
    assert [result.name for result in ordered] == ["baseline", "r1", "r2", "r9", "r10"]

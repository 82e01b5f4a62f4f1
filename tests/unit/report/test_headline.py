"""The sentence at the top: which round, and what is said about it."""

import dataclasses

import pytest

from secateur.report.headline import headline, reference_runtime
from secateur.report.results import Timing, read_results
from tests.unit.report.run_fixture import change_card, latency, measured_run, report_data, rolled_back


def _said(results, **details):
    known = {"deployed": "onnx-int8", "confidence_level": 0.95, "test_rows": 2861}
    return headline(results, known | details)


def _with_last(*, int8_ms: float = 1.17, **changes):
    """The measured run, in which the last round is another one."""
    results = read_results(measured_run())
    last = results[-1]
    times = {**last.timings, "onnx-int8": Timing(median_ms=int8_ms, p95_ms=6.0, speedup=2.04 / int8_ms)}
    change = dataclasses.replace(last.change, **changes)
    return (*results[:-1], dataclasses.replace(last, timings=times, change=change))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "r3 in ONNX int8 is 9.3× as fast as dense in PyTorch (1.7× as fast as dense in ONNX int8) and loses"),
        (
            {"value": -0.014},
            "and loses 1.4 points of macro-F1, more than chance explains (125 test rows lost, 79 won).",
        ),
        ({"value": 0.01, "lost": 9, "won": 19}, "and gains 1.0 point of macro-F1, more than chance"),
        (
            {"value": -0.002, "high": 0.01, "p_value": 0.4},
            "loses 0.2 points of macro-F1, which may be chance (125 test rows lost",
        ),
        ({"value": 0.0, "high": 0.01, "p_value": 1.0}, "keeps its macro-F1 (125 test rows lost, 79 won)."),
        ({"value": -0.02, "low": -0.03, "high": -0.01, "p_value": 0.4}, "points of macro-F1, more than chance"),
        ({"int8_ms": 21.66}, "is 2.0× slower than dense in PyTorch (11× slower than dense in ONNX int8)"),
        ({"int8_ms": 10.8}, "is no faster than dense in PyTorch"),
    ],
)
def test_the_sentence_speaks_of_the_deployed_form_and_of_a_paired_test(changes, said):
    assert said in _said(_with_last(**changes)).sentence


def test_the_figures_behind_the_test_stand_below_the_sentence():
    rule = _said(_with_last(value=-0.014, low=-0.0231, high=-0.0052)).rule.replace("\u00a0", " ").replace("\u202f", " ")
    assert "In pairs on the same 2 861 test rows, the 95 % interval of the change against dense in PyTorch" in rule
    assert "is −2.3 to −0.5 points; of the rows lost and won the exact McNemar test has p = 0.0015" in rule


def test_without_the_deployed_form_nothing_is_said_of_chance():
    said = headline(read_results(report_data()), {"confidence_level": 0.95}).sentence
    assert said == (
        "r3 is 4.2× as fast as dense in PyTorch (2.3× as fast as dense in ONNX) and loses 0.3 points of macro-F1."
    )


def test_without_dense_times_in_pytorch_the_same_form_is_compared():
    times = latency()
    times["results"] = [row for row in times["results"] if row["runtime"] != "torch"]
    said = _said(read_results(report_data(latency=times)), deployed="onnx").sentence
    assert said.startswith("r3 in ONNX is 2.3× as fast as dense in ONNX and loses")


def test_the_last_accepted_round_is_chosen_whatever_the_test_set_says():
    chosen = _said(_with_last(value=-0.3))
    assert chosen.best is not None
    assert chosen.best.name == "r3"
    rolled = _said(read_results(report_data(**rolled_back("r2", "r3"))))
    assert rolled.best is not None
    assert rolled.best.name == "r1"


def _promised(**latencies):
    data = measured_run()
    for (name, left), promise in zip(latencies.items(), (0.005, 0.01, 0.02), strict=True):
        achieved = {"latency": left, "macs": 0.4, "max_drop": promise / 2}
        change_card(data, name, asked={"max_drop": promise}, price="latency", achieved=achieved)
    return _said(read_results(data))


def test_a_round_that_may_lose_more_and_is_no_faster_is_not_chosen():
    chosen = _promised(r1=0.69, r2=0.665, r3=0.68)
    assert chosen.best is not None
    assert chosen.best.name == "r2"
    said = chosen.rule.replace("\u00a0", " ")
    assert "r2 is the last accepted round that is worth what it may lose." in said
    assert "r3 may lose more, and by the prices of the budget keeps 68.0 % of the dense time, r2 66.5 %." in said


def test_a_round_that_may_lose_more_and_is_faster_is_chosen():
    chosen = _promised(r1=0.69, r2=0.72, r3=0.66)
    assert chosen.best is not None
    assert chosen.best.name == "r3", "r1 is left for it, and r2 stands between them"
    assert "r3 is the last accepted round. Validation" in chosen.rule


def test_a_round_that_is_never_deployed_is_told():
    data = measured_run()
    change_card(data, "r3", parameters={"prune.rounds.r3.deploy": False})
    chosen = _said(read_results(data))
    assert chosen.best is not None
    assert chosen.best.name == "r2"
    assert (
        "r2 is the last accepted round. r3 is shown, and never deployed (prune.rounds.r3.deploy=false)." in chosen.rule
    )


def test_without_an_accepted_round_the_first_sentence_says_why_and_what_to_change():
    data = report_data(**rolled_back("r1", "r2", "r3"))
    settings = {"prune.max_drop": 0.03, "prune.recovery.epochs": 2, "prune.vocabulary_min_count": 5}
    change_card(data, "r1", parameters={**data.cards["r1"].parameters, **settings})
    said = _said(read_results(data))
    assert said.best is None
    assert said.sentence.replace("\u00a0", " ") == (
        "No round was accepted, so the dense model stays: r1 was rolled back, since macro-F1 0.741 is below 0.757, "
        "the dense model's 0.787 less prune.max_drop; to change that, leave more than 35.0 % of the dense "
        "multiply-accumulates (prune.budget.macs), allow a larger loss (prune.max_drop, now 0.03), train for longer "
        "(prune.recovery.epochs, now 2), or keep rare words (prune.vocabulary_min_count, now 5)."
    )


@pytest.mark.parametrize(
    ("asked", "settings", "advice"),
    [
        ({"macs": 0.5}, {"prune.rounds.r1.budget": 0.5}, "dense multiply-accumulates (prune.rounds.r1.budget)"),
        ({"sparsity": 0.6}, {}, "remove less than 60.0 % (prune.budget.sparsity)"),
        ({"max_drop": 0.02}, {"prune.budget.max_drop": 0.02}, "that, allow a larger loss (prune.budget.max_drop, now"),
        ({"macs": 0.5}, {"prune.rounds.r1.epochs": 3}, "train for longer (prune.rounds.r1.epochs, now 3)"),
        (
            {"max_drop": 0.02},
            {"prune.recovery.epochs": "auto", "prune.vocabulary_min_count": "auto"},
            "(prune.recovery.epochs, now auto), or keep rare words (prune.vocabulary_min_count, now auto)",
        ),
    ],
)  # fmt: skip
def test_the_advice_names_the_parameters_that_decided(asked, settings, advice):
    data = report_data(**rolled_back("r1", "r2", "r3"))
    change_card(data, "r1", asked=asked, parameters={**data.cards["r1"].parameters, **settings})
    assert advice in _said(read_results(data)).sentence.replace("\u00a0", " ")


def test_the_deployed_runtime_is_spoken_of():
    results = read_results(report_data())
    assert reference_runtime(results, {"deployed": "onnx-int8"}) == "onnx-int8"
    assert reference_runtime(results, {}) == "onnx"
    assert reference_runtime(read_results(report_data(latency=None)), {}) is None


def test_rounds_are_ordered_by_number():
    data = report_data()
    entry = data.metrics["rounds"]["r1"]
    rounds = {f"r{number}": entry for number in (10, 9, 2, 1)}
    ordered = read_results(dataclasses.replace(data, metrics={**data.metrics, "rounds": rounds}))
    assert [result.name for result in ordered] == ["baseline", "r1", "r2", "r9", "r10"]

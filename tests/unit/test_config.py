"""params.yaml: what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from secateur.config.prune import Budget
from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from tests.tiny import full_params

SHIPPED = Path(__file__).resolve().parents[2] / "params.yaml"


def _with(name: str, value: Any) -> dict[str, Any]:
    values = full_params()
    *parents, last = name.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    return values


def test_shipped_parameters_are_valid() -> None:
    assert parse_config(YAML(typ="safe").load(SHIPPED.read_text())).prune.rounds["r1"].prev == "baseline"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("clean.min_charz", 1, "clean.min_charz is not a known parameter"),
        ("clean.min_chars", 0, "clean.min_chars: input should be greater than or equal to 1 (found 0)"),
        ("clean.test_fraction", 1.5, "clean.test_fraction"),
        ("run.num_threads", "many", "run.num_threads: input should be a valid integer"),
        ("prune.criterion", "luck", "prune.criterion: 'luck' is no criterion; known: magnitude, gradient, l1"),
        (
            "prune.budget",
            {"macs": 0.4, "params": 0.5},
            "exactly one of max_drop, latency, macs, params, sparsity must be set (found: macs, params)",
        ),
        ("prune.budget", {}, "exactly one of max_drop, latency, macs, params, sparsity must be set (found: none)"),
        (
            "prune.budget",
            {"macs": 0.4, "price": "params"},
            "prune.budget: price=params says what is made small for a promise of max_drop, found macs",
        ),
        ("prune.budget", {"max_drop": 0.01, "price": "sparsity"}, "prune.budget.price: input should be 'latency'"),
        (
            "prune.rounds",
            {"r1": {"prev": "baseline", "budget": 0.5}},
            "rounds.r1.budget=0.5 is a fraction of dense, and budget.max_drop asks for a quality; rounds.r1.max_drop",
        ),
        ("prune.criterion", "gradint", "prune.criterion: 'gradint' is no criterion; did you mean gradient? known: "),
        ("prune.criterion", "wanda", "prune: criterion wanda is for granularity weights, found granularity structures"),
        ("prune.norm", "l3", "prune.norm: input should be 'l1', 'l2' or 'lamp' (found 'l3')"),
        ("prune.gradient_score", "movement", "prune.gradient_score: movement is gone, since a random choice is better"),
        ("prune.criteria.gradient.score", "movement", "prune.criteria.gradient.score: movement is gone, since"),
        (
            "prune.criteria.magnitud",
            {"norm": "lamp"},
            "prune.criteria: 'magnitud' is no criterion; did you mean magnitude? known: ",
        ),
        (
            "prune.criteria.magnitude.nrm",
            "l1",
            "prune.criteria.magnitude.nrm is not a known parameter; did you mean prune.criteria.magnitude.norm?",
        ),
        ("prune.criteria.obs.search_trials", -1, "prune.criteria.obs.search_trials: input should be greater than"),
        ("prune.norm", "lamp", "norm is the former name of criteria.magnitude.norm, found both; leave the former name"),
        ("prune.schedule.tries", 0, "prune.schedule.tries: input should be greater than or equal to 1"),
        ("prune.latency.max_error", 0, "prune.latency.max_error: input should be greater than 0"),
        (
            "prune.recovery.epochs",
            -1,
            "prune.recovery.epochs: input should be greater than or equal to 0, or 'auto' (found -1)",
        ),
        ("prune.regularization.epochs", -1, "prune.regularization.epochs: input should be greater than or equal to 0"),
        ("prune.budget.macs", 0, "prune.budget.macs: input should be greater than 0"),
        ("prune.rounds", {"r2": {"prev": "baseline"}}, "rounds are r1, r2, ... in this order; found r2 in place 1"),
        (
            "prune.rounds",
            {"r1": {"prev": "baseline", "student": "static", "epochs": 3.0, "action": "remove"}},
            "round r1 cuts nothing (student=static); leave its action out",
        ),
        ("baseline.learning_rate", float("nan"), "baseline.learning_rate"),
    ],
)
def test_refuses_in_the_users_words(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(_with(name, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("criterion", ["l2", "obs"])
@pytest.mark.parametrize(("strength", "refused"), [(999.0, False), (1000.0, True)])
def test_a_decay_that_would_turn_signs_is_refused(criterion: str, strength: float, refused: bool) -> None:
    """1e-4 * strength * 10, whichever way the regulariser came; without epochs there is no last step."""
    values = _with("prune.regularization.strength", strength)
    values["prune"] |= {"criterion": criterion, "regularizer": "none" if criterion == "l2" else "l2"}
    if refused:
        with pytest.raises(ConfigError, match=r"which turns their sign; a strength below 1000 would work"):
            parse_config(values)
        values["prune"]["regularization"]["epochs"] = 0
    assert parse_config(values).prune.trained_with == "l2"


def test_a_promise_of_a_round_needs_a_budget_of_promises() -> None:
    values = _with("prune.budget", {"macs": 0.5})
    values["prune"]["rounds"]["r1"]["max_drop"] = 0.01
    with pytest.raises(ConfigError, match=r"rounds\.r1\.max_drop=0\.01 is a promise of quality, and budget\.macs asks"):
        parse_config(values)


def test_single_weights_keep_no_promise() -> None:
    values = _with("prune.granularity", "weights")
    values["prune"]["criterion"] = "wanda"
    with pytest.raises(ConfigError, match=r"its budget is sparsity, found budget\.max_drop"):
        parse_config(values)


def test_the_price_of_a_promise_is_time_unless_something_else_is_named() -> None:
    assert Budget(max_drop=0.01).kind == "latency"
    assert Budget(max_drop=0.01, price="macs").kind == "macs"
    assert Budget(max_drop=0.01).fraction is None
    assert (Budget(sparsity=0.75).kind, Budget(sparsity=0.75).fraction) == ("sparsity", 0.25)


def test_one_parameter_says_which_rows_judge() -> None:
    values = _with("ingest.time_column", "day")
    assert parse_config(values).ingest.time_column == "day"
    values["clean"]["split_by"] = "content"
    with pytest.raises(ConfigError, match=r"split_by=content and ingest\.time_column both say which rows judge"):
        parse_config(values)


def test_a_missing_parameter_is_named() -> None:
    values = YAML(typ="safe").load(SHIPPED.read_text())
    del values["ingest"]["source"]
    with pytest.raises(ConfigError, match=r"ingest\.source is missing from params\.yaml"):
        parse_config(values)

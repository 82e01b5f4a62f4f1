"""params.yaml: what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from secateur.config import parse_config
from secateur.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[2] / "params.yaml"


def _with(name: str, value: Any) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(SHIPPED.read_text())
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
        ("prune.criterion", "luck", "prune.criterion: input should be 'magnitude'"),
        (
            "prune.budget",
            {"macs": 0.4, "params": 0.5},
            "exactly one of latency, macs, params, sparsity must be set (found: macs, params)",
        ),
        ("prune.budget", {}, "exactly one of latency, macs, params, sparsity must be set (found: none)"),
        ("prune.budget.macs", 0, "prune.budget.macs: input should be greater than 0"),
        ("prune.rounds", {"r2": {"prev": "baseline"}}, "rounds are r1, r2, ... in this order; found r2 in place 1"),
        ("baseline.learning_rate", float("nan"), "baseline.learning_rate"),
    ],
)
def test_refuses_in_the_users_words(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(_with(name, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_is_named() -> None:
    values = YAML(typ="safe").load(SHIPPED.read_text())
    del values["clean"]["min_chars"]
    with pytest.raises(ConfigError, match=r"clean\.min_chars is missing from params\.yaml"):
        parse_config(values)

"""Defaults: a project says what it chooses, and every other parameter has a value."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from secateur.config.effective import default_values, effective
from secateur.config.schema import parse_config

ROOT = Path(__file__).resolve().parents[3]
CHOSEN = {"ingest": {"source": "rows.csv", "label_column": "label"}}


def shipped() -> Any:
    return YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_a_source_and_a_label_column_are_enough() -> None:
    config = parse_config(CHOSEN)
    assert (config.ingest.text_column, list(config.prune.rounds)) == ("text", ["r1", "r2", "r3"])


@pytest.mark.parametrize(
    ("section", "given", "kept"),
    [
        ("prune", {"latency": {"length": 64}}, ("latency", "runtime", "onnx-int8")),
        ("prune", {"recovery": {"batch_size": 8}}, ("recovery", "learning_rate", 2e-4)),
        ("evaluate", {"latency": {"length": 64}}, ("latency", "repeats", 100)),
    ],
)
def test_a_section_in_part_keeps_the_other_defaults(
    section: str, given: dict[str, Any], kept: tuple[str, str, Any]
) -> None:
    inner, name, value = kept
    config = parse_config({**CHOSEN, section: given}).model_dump()
    assert config[section][inner][name] == value


def test_another_budget_replaces_the_default_one() -> None:
    config = parse_config({**CHOSEN, "prune": {"budget": {"macs": 0.5}}})
    assert (config.prune.budget.kind, config.prune.budget.max_drop) == ("macs", None)


def test_what_the_demo_leaves_out_would_be_the_same() -> None:
    """Each value of the demo that equals a default may go from its file, and its effective parameters stay."""
    full = shipped()
    known = default_values()
    short = _without(full, known)
    assert parse_config(short) == parse_config(full)
    assert len(list(_leaves(short))) < 20


def test_who_chose_a_value() -> None:
    values = {**CHOSEN, "prune": {"latency": {"length": 64}}}
    found = {entry.name: entry for entry in effective(values, parse_config(values))}
    length, batch = found["prune.latency.length"], found["prune.latency.batch"]
    assert (length.value, length.default, length.origin) == (64, 32, "params.yaml")
    assert (batch.value, batch.default, batch.origin) == (1, 1, "default")


def _without(values: Any, known: Any) -> Any:
    kept = {}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            if name not in ("rounds", "budget", "multipliers"):
                inner = _without(value, known[name])
                if inner:
                    kept[name] = inner
                continue
            if name == "rounds":
                continue
        elif name in known and known[name] == value:
            continue
        kept[name] = value
    return kept


def _leaves(values: Any) -> Any:
    for value in values.values():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield value

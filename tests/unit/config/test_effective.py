"""Defaults: a project says what it chooses, and every other parameter has a value."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from secateur.config.effective import default_values, effective, is_named
from secateur.config.retired import RETIRED
from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from secateur.workflow.params import flatten

CHOSEN = {"ingest": {"source": "rows.csv", "label_column": "label"}}
EARLIER = sorted((Path(__file__).parent / "shipped").glob("*.yaml"))


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


def test_a_section_whose_lines_are_all_comments_is_left_out() -> None:
    config = parse_config({**CHOSEN, "evaluate": None, "prune": {"recovery": None}})
    assert config == parse_config(CHOSEN)
    assert not is_named(config, "evaluate")
    assert not is_named(config, "prune.recovery")
    with pytest.raises(ConfigError, match=r"ingest\.source is missing from params\.yaml"):
        parse_config({"ingest": None})
    with pytest.raises(ConfigError, match="nowhere is not a known parameter"):
        parse_config({**CHOSEN, "nowhere": None})


@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.stem)
def test_a_file_of_an_earlier_version_keeps_every_value_that_it_names(file: Path) -> None:
    assert len(EARLIER) == 2
    values = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    config = parse_config(values)
    known = flatten(config.model_dump(mode="json", by_alias=True))
    named = {name: value for name, value in flatten(values).items() if name not in RETIRED}
    assert {name: known[name] for name in named} == named
    assert all(is_named(config, name) for name in named)
    # What such a version did without the parameters that it did not know.
    later = {"clean.min_test_rows": 0}
    assert {name: known[name] for name in later if name not in named}.items() <= later.items()
    for training in (config.baseline, config.prune.recovery):
        settled = training.settled(rows=100, labels=2)
        asked = 0 if training.min_steps == "auto" else training.min_steps
        assert (settled.passes, settled.least_steps) == (training.epochs, asked)


def test_who_chose_a_value() -> None:
    found = {entry.name: entry for entry in effective(parse_config({**CHOSEN, "prune": {"latency": {"length": 64}}}))}
    length, batch = found["prune.latency.length"], found["prune.latency.batch"]
    assert (length.value, length.default, length.origin) == (64, 32, "params.yaml")
    assert (batch.value, batch.default, batch.origin) == (1, 1, "default")
    source, round_ = found["ingest.source"], found["prune.rounds.r3.epochs"]
    assert (source.value, source.default, source.origin) == ("rows.csv", None, "params.yaml")
    assert (round_.value, round_.default, round_.origin) == (1.3, 1.3, "default")


def test_what_is_listed_is_all_there_is() -> None:
    values = {**CHOSEN, "prune": {"criterion": "fixed_weight", "multipliers": {"layers.*.ffn": 1, "layers.*.heads": 2}}}
    config = parse_config(values)
    nested = flatten(config.model_dump(mode="json", by_alias=True))
    listed = {entry.name: entry.value for entry in effective(config)}
    assert flatten(listed) == nested


def test_a_value_that_equals_its_default_is_named_all_the_same() -> None:
    prune = {"repair": "none", "rounds": {"r1": {"prev": "baseline"}}}
    config = parse_config({**CHOSEN, "prune": prune, "register": {}})
    names = ("prune", "prune.repair", "prune.rounds.r1", "prune.rounds.r1.prev", "register", "ingest.source")
    assert [name for name in names if not is_named(config, name)] == []
    others = ("run", "prune.criterion", "prune.rounds.r1.epochs", "prune.rounds.r2", "register.runtime", "nowhere.key")
    assert [name for name in others if is_named(config, name)] == []


def test_defaults_are_no_rows_of_anybody() -> None:
    assert default_values()["ingest"]["source"] is None
    with pytest.raises(ConfigError, match=r"label_column must name the column of the labels, found null"):
        parse_config({"ingest": {"source": "rows.csv"}})

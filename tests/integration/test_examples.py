"""Every shipped params file is complete and valid, and the two of the demo split their rows alike."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from secateur.config.reference import parameters
from secateur.config.schema import RunConfig, parse_config
from secateur.workflow.params import flatten

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def values_of(path: Path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def example(name: str) -> RunConfig:
    return parse_config(values_of(ROOT / "examples" / f"{name}.yaml"))


def test_there_are_examples():
    names = {"hub-bert-sst2", "hub-gpt2-wikitext", "reviews-zh-generation", "reviews-zh-sentiment"}
    assert {path.stem for path in EXAMPLES} >= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_names_every_parameter(path):
    values = values_of(path)
    parse_config(values)
    found = {re.sub(r"rounds\.r\d+", "rounds.rN", name) for name in flatten(values)}
    # What is no stage's may be left to its defaults, but only as a whole.
    left_out = {"promote", "retrain", "serve"} - set(values)
    described = {row["name"] for row in parameters() if row["name"].partition(".")[0] not in left_out}
    budgets = {name for name in described if name.startswith("prune.budget.")}
    assert found - budgets == described - budgets
    assert len(found & budgets - {"prune.budget.price"}) == 1, "a promise may have a price beside it"


def test_the_sentiment_model_meets_no_test_row_of_its_generator():
    generation, sentiment = example("reviews-zh-generation"), example("reviews-zh-sentiment")
    assert generation.ingest == sentiment.ingest
    assert generation.clean == sentiment.clean
    assert generation.run.seed == sentiment.run.seed


def test_the_two_of_the_demo_find_each_other():
    generation, sentiment = example("reviews-zh-generation"), example("reviews-zh-sentiment")
    assert sentiment.baseline.model == "../reviews-zh-generation/models/baseline"
    assert generation.evaluate.judge is not None
    project, _, round_ = generation.evaluate.judge.partition("/models/")
    assert project == "../reviews-zh-sentiment"
    assert round_ in sentiment.prune.rounds


def test_the_generator_of_the_demo_is_plain_and_long_enough():
    config = json.loads((ROOT / "examples/llama-reviews.json").read_text(encoding="utf-8"))
    assert config["max_position_embeddings"] >= example("reviews-zh-generation").baseline.max_length
    assert config["num_attention_heads"] * config["head_dim"] == config["hidden_size"]
    assert config["num_attention_heads"] % config["num_key_value_heads"] == 0

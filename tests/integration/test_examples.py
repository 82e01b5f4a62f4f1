"""Every shipped params file is short and valid, and the two of the demo split their rows alike."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from secateur.config.effective import effective
from secateur.config.schema import RunConfig, parse_config

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
def test_an_example_is_valid_and_says_what_it_chooses(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert (len(lines) <= 40, max(map(len, lines)) <= 120) == (True, True)
    chosen = [entry for entry in effective(parse_config(values_of(path))) if entry.origin == "params.yaml"]
    same = [entry.name for entry in chosen if entry.value == entry.default and "rounds" not in entry.name]
    assert same == [], "it names no default"


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

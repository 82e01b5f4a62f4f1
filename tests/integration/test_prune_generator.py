"""``secateur prune`` on somebody's finished generator: texts alone, perplexity before and after."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from secateur import load
from secateur.models.card import read_card
from secateur.models.checkpoint import load_tokenizer
from tests.integration.in_process import output, refused
from tests.tiny_generators import ALPHABET, CONTROLS, write_generator

QUICK = ("-S", "ffn_multiple=4", "-S", "search_trials=0", "--threads", "1", "--json")


@pytest.fixture(autouse=True)
def _without_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of ours, the same as Hugging Face writes it, and texts."""
    root = tmp_path_factory.mktemp("home")
    folder = write_generator(root / "ours")
    load(folder).save_pretrained(root / "plain")
    load_tokenizer(folder).save_pretrained(root / "plain")
    chance = random.Random(0)
    texts = ["".join(chance.choices(ALPHABET, k=chance.randint(5, 60))) for _ in range(80)]
    (root / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    rows = [f"{text},{chance.choice(list(CONTROLS))}" for text in texts]
    (root / "rows.csv").write_text("\n".join(["text,mood", *rows]), encoding="utf-8")
    return root


def pruned(home: Path, out: Path, *options: str, checkpoint: str = "ours", data: str = "texts.txt") -> dict[str, dict]:
    return json.loads(output(home, "prune", checkpoint, "--data", data, "--out", out, *QUICK, *options))


def test_half_of_a_generator_stays_and_its_perplexity_is_that_of_transformers(home: Path, tmp_path: Path) -> None:
    found = pruned(home, tmp_path / "out")
    assert found["kind"] == "generation" and found["rows"]["held_out"] == 16
    assert found["achieved"]["macs"] <= 0.5
    assert found["pruned"]["perplexity"] > found["dense"]["perplexity"]
    tokenizer, model = load_tokenizer(home / "plain"), AutoModelForCausalLM.from_pretrained(home / "plain")
    texts = (home / "texts.txt").read_text(encoding="utf-8").splitlines()
    # Which rows are held out is the split's own; the mean over all is near the mean over a fifth of random texts.
    nats = tokens = 0.0
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([[2, *tokenizer(text, add_special_tokens=False)["input_ids"], 3]])
            nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
    assert math.exp(nats / tokens) == pytest.approx(found["dense"]["perplexity"], rel=0.05)
    written = output(home, "generate", tmp_path / "out", "好", "--max-tokens", "4", "--temperature", "0")
    assert written.startswith("好")
    scored = json.loads(output(home, "evaluate", tmp_path / "out", "--data", "rows.csv", "--json"))
    assert "perplexity" in json.dumps(scored)


def test_a_recovery_makes_up_for_some_of_it_and_a_foreign_folder_is_the_same(home: Path, tmp_path: Path) -> None:
    cut = pruned(home, tmp_path / "cut", "--macs", "0.3", checkpoint="plain")
    assert cut["pruned"] == pruned(home, tmp_path / "ours", "--macs", "0.3")["pruned"]
    trained = pruned(home, tmp_path / "trained", "--macs", "0.3", "--epochs", "6", checkpoint="plain")
    assert trained["pruned"]["perplexity"] < cut["pruned"]["perplexity"]
    assert read_card(tmp_path / "trained")["state"] == "recovered"
    short = pruned(home, tmp_path / "short", "--max-length", "16", checkpoint="plain")
    assert short["rows"]["calibration"] > cut["rows"]["calibration"]
    assert read_card(tmp_path / "short")["max_length"] == 64, "what it can read, however short the rows were"


@pytest.mark.parametrize("option", [("--params", "0.6"), ("--criterion", "l1"), ("--criterion", "wanda")])
def test_other_budgets_and_criteria_go_as_well(home: Path, tmp_path: Path, option: tuple[str, ...]) -> None:
    single = ("-S", "granularity=weights", "--sparsity", "0.5") if "wanda" in option else ()
    assert pruned(home, tmp_path / "out", *option, *single)["pruned"]["perplexity"] > 0


def test_a_generator_that_is_told_labels_is_told_those_of_the_rows(home: Path, tmp_path: Path) -> None:
    told = pruned(home, tmp_path / "told", "--label-column", "mood", data="rows.csv")
    silent = pruned(home, tmp_path / "silent", data="rows.csv")
    assert told["dense"]["perplexity"] != silent["dense"]["perplexity"]
    assert read_card(tmp_path / "told")["control"] == CONTROLS
    said = refused(home, "prune", "plain", "--data", "rows.csv", "--label-column", "mood", "--out", tmp_path / "no")
    assert "this model is told no labels" in str(said)
    (tmp_path / "other.csv").write_text((home / "rows.csv").read_text().replace("positive", "glad"))
    asked = ("--data", tmp_path / "other.csv", "--label-column", "mood", "--out", tmp_path / "no")
    assert "labels that the model has not: glad" in str(refused(home, "prune", "ours", *asked))
    assert not (tmp_path / "no").exists()


def test_a_promise_of_perplexity_is_kept_or_refused(home: Path, tmp_path: Path) -> None:
    found = pruned(home, tmp_path / "out", "-S", "budget.max_drop=0.05", "-S", "budget.price=macs")
    assert found["achieved"]["macs"] < 1.0
    assert found["achieved"]["max_drop"] <= 0.05

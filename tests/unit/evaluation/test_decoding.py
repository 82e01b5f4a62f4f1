"""Decoding with the cache: the tokens a plain loop finds, draws that belong to a row, nothing after the end."""

import pytest
import torch

from secateur.evaluation.decoding import Sampling, decode
from tests.tiny_generators import llama


@pytest.fixture(scope="module")
def model():
    return llama(20)


PROMPTS = torch.tensor([[2, 5, 7], [2, 6, 9], [2, 4, 4]])


def test_greedy_is_what_the_library_generates_and_what_no_cache_gives(model):
    found = decode(model, PROMPTS, sampling=Sampling(8), end=None)
    theirs = model.generate(PROMPTS, attention_mask=torch.ones_like(PROMPTS), max_new_tokens=8, do_sample=False,
                            eos_token_id=None)  # fmt: skip
    assert theirs[:, 3:].tolist() == found
    ids = PROMPTS
    with torch.inference_mode():
        for _ in range(8):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(dim=-1)], dim=1)
    assert ids[:, 3:].tolist() == found


def test_a_text_ends_with_its_end_and_the_others_go_on(model):
    free = decode(model, PROMPTS, sampling=Sampling(8), end=None)
    end = free[0][3]
    found = decode(model, PROMPTS, sampling=Sampling(8), end=end)
    for row, whole in zip(found, free, strict=True):
        expected = whole[: whole.index(end) + 1] if end in whole else whole
        assert row == expected


def test_a_row_draws_the_same_numbers_whatever_is_decoded_beside_it(model):
    sampling = Sampling(6, temperature=1.3, top_p=0.9, seed=5)
    together = decode(model, PROMPTS, sampling=sampling, end=None)
    alone = [decode(model, PROMPTS[row : row + 1], sampling=sampling, end=None, rows=[row])[0] for row in range(3)]
    assert together == alone
    assert together != decode(model, PROMPTS, sampling=Sampling(6, 1.3, 0.9, seed=6), end=None)


def test_sampled_frequencies_are_the_model_s_probabilities(model):
    prompts = PROMPTS[:1].repeat(4000, 1)
    with torch.inference_mode():
        expected = torch.softmax(model(input_ids=PROMPTS[:1]).logits[0, -1].double() / 1.5, dim=-1)
    drawn = decode(model, prompts, sampling=Sampling(1, temperature=1.5), end=None)
    found = torch.bincount(torch.tensor(drawn)[:, 0], minlength=20) / 4000
    assert (found - expected).abs().max() < 0.04


def test_top_p_keeps_the_fewest_tokens_that_hold_the_mass_and_banned_ones_never_come(model):
    prompts = PROMPTS[:1].repeat(500, 1)
    with torch.inference_mode():
        probabilities = torch.softmax(model(input_ids=PROMPTS[:1]).logits[0, -1].double(), dim=-1)
    ranked, order = probabilities.sort(descending=True)
    allowed = set(order[: int((ranked.cumsum(0) < 0.6).sum()) + 1].tolist())
    drawn = {row[0] for row in decode(model, prompts, sampling=Sampling(1, 1.0, 0.6), end=None)}
    assert drawn <= allowed
    assert len(drawn) > 1
    best = int(order[0])
    free = decode(model, prompts, sampling=Sampling(1, 1.0, 0.6), end=None, banned=[best])
    assert best not in {row[0] for row in free}


def test_tokens_of_the_first_row_are_told_as_they_come(model):
    told: list[int] = []
    found = decode(model, PROMPTS, sampling=Sampling(5), end=None, on_token=told.append)
    assert told == found[0]

"""Attacks on texts and on models, and the scores under them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from secateur.config.evaluate import RobustnessSection
from secateur.data.tokens import from_lists
from secateur.errors import ModelError
from secateur.evaluation.attacks.characters import TEXT_ATTACKS, attack_text, words_of
from secateur.evaluation.attacks.word_swap import embedding_gradient, swap_words, swappable_tokens, whole_words
from secateur.evaluation.robust_score import robust_score, sample_of
from secateur.evaluation.robustness import robustness
from secateur.training.batches import batches_of
from secateur.training.objectives import forward, logits_of
from tests.tiny_models import MODEL_TYPES, WORDS, tiny_model, tiny_tokenizer

TEXT = "the train is very good today, @user http"
CHINESE = "这本书非常好看我很喜欢"
TEXTS = ["good day", "the train is very very bad", "a very good train", "the day is bad", "is a day good"] * 4
LABELS = [2, 0, 2, 0, 1] * 4


def settings(**changes):
    values = {"rows": 20, "attacks": ("typos", "deletion", "gradient"), "words_per_text": 1, "num_candidates": 4}
    return RobustnessSection.model_validate(values | changes)


def attacked(text, attack, **changes):
    return attack_text(text, **{"attack": attack, "num_words": 2, "seed": 0, **changes})


@pytest.mark.parametrize("attack", TEXT_ATTACKS)
@given(text=st.text(max_size=40), seed=st.integers(0, 3))
def test_an_attack_is_a_function_of_text_and_seed_and_leaves_words(attack, text, seed):
    changed = attacked(text, attack, seed=seed)
    assert changed == attacked(text, attack, seed=seed)
    assert bool(changed.strip()) == bool(text.strip())


@pytest.mark.parametrize("attack", TEXT_ATTACKS)
def test_exactly_so_many_words_are_hit(attack):
    before = TEXT.split()
    for seed in range(20):
        after = attacked(TEXT, attack, seed=seed).split()
        if attack == "deletion":
            assert len(after) == len(before) - 2
            assert [word for word in before if word in after] == after
        else:
            assert sum(a != b for a, b in zip(before, after, strict=True)) == 2


@pytest.mark.parametrize("attack", TEXT_ATTACKS)
def test_placeholders_of_cleaning_stay(attack):
    assert all(attacked(TEXT, attack, num_words=99, seed=seed).endswith("@user http") for seed in range(20))
    assert attacked("@user http", attack) == "@user http"


def test_other_seeds_give_other_attacks():
    assert len({attacked(TEXT, "typos", seed=seed) for seed in range(20)}) > 10


def test_a_typo_is_a_neighbouring_key():
    for seed in range(30):
        [(old, new)] = [
            pair
            for pair in zip("Quiz", attacked("Quiz", "typos", num_words=1, seed=seed), strict=True)
            if pair[0] != pair[1]
        ]
        assert new in {"Q": "WA", "u": "yihj", "i": "uojk", "z": "xas"}[old]
    assert attacked("我很喜欢 это a", "typos") == "我很喜欢 это a", "no Latin word of three letters"


def test_a_swap_keeps_the_letters_of_the_word():
    for seed in range(10):
        changed = attacked("train", "swaps", num_words=1, seed=seed)
        assert changed != "train"
        assert sorted(changed) == sorted("train")
    assert attacked("aa 11 ?!", "swaps") == "aa 11 ?!"


def test_homoglyphs_look_alike_and_are_others():
    changed = attacked("space", "homoglyphs", num_words=1)
    assert changed != "space"
    assert len(changed) == 5
    assert not changed.isascii()


def test_casing_is_undone_by_lower_case():
    changed = attacked(TEXT, "casing", num_words=9)
    assert changed != TEXT
    assert changed.lower() == TEXT.lower()


def test_characters_are_the_words_of_chinese():
    assert len(words_of(CHINESE)) == len(CHINESE)
    assert len(words_of("我 love 你们")) == 4
    assert len(attacked(CHINESE, "deletion")) == len(CHINESE) - 2
    swapped = attacked(CHINESE, "swaps")
    assert swapped != CHINESE
    assert sorted(swapped) == sorted(CHINESE)
    assert attacked("一人", "homoglyphs") not in ("", "一人"), "Kangxi radicals look like them"


def test_the_last_word_is_never_deleted():
    assert attacked("good", "deletion") == "good"
    assert attacked("good day", "deletion", num_words=9) in ("good", "day")


def test_whole_words_are_those_that_are_one_token():
    tokenizer = tiny_tokenizer()
    whole = whole_words(tokenizer, vocab_size=60)
    found = {word for word, flag in zip(WORDS, whole, strict=False) if flag}
    assert found == {"good", "bad", "day", "train", "very", "the", "is"}, "neither special tokens nor single letters"
    assert not whole[len(WORDS) :].any()


def rows_of(texts, labels):
    tokenizer = tiny_tokenizer()
    encoded = tokenizer(texts)
    whole = whole_words(tokenizer, vocab_size=60)
    return from_lists(encoded["input_ids"], labels=labels), swappable_tokens(encoded, whole=whole), whole


def swapped_rows(model, rows, swappable, whole, **changes):
    options = {"num_words": 1, "num_candidates": 60, "batch_size": 4, "precision": "fp32", **changes}
    return swap_words(model, rows, swappable=swappable, whole=whole, **options)


def losses(model, rows):
    logits = logits_of(model, rows, batch_size=4, precision="fp32")
    return cross_entropy(logits, torch.from_numpy(rows.labels), reduction="none")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_best_swap_by_the_gradient_is_the_one_of_brute_force(model_type):
    model = tiny_model(model_type)
    rows, swappable, whole = rows_of(["the train is very good"], [2])
    [batch] = batches_of(rows, batch_size=1, pad_token_id=0)
    gradient = embedding_gradient(model, batch, precision="fp32")[0]
    embeddings = model.get_input_embeddings().weight.detach()
    estimates = {
        (place, token): float(gradient[place] @ (embeddings[token] - embeddings[rows.values[place]]))
        for place in np.flatnonzero(swappable)
        for token in whole.nonzero().flatten().tolist()
        if token != rows.values[place]
    }
    place, token = max(estimates, key=estimates.get)
    changed = swapped_rows(model, rows, swappable, whole)
    assert np.flatnonzero(changed.values != rows.values).tolist() == [place]
    assert changed.values[place] == token


def test_the_gradient_is_that_of_the_loss():
    model = tiny_model().double()
    rows, _, _ = rows_of(["very good"], [0])
    [batch] = batches_of(rows, batch_size=1, pad_token_id=0)
    gradient = embedding_gradient(model, batch, precision="fp32")
    weight = model.get_input_embeddings().weight
    step, place = 1e-6, 1  # one token that occurs once
    token = batch.input_ids[0, place]
    with torch.no_grad():
        before = cross_entropy(forward(model, batch, precision="fp32").double(), batch.labels)
        weight[token, 3] += 1e-2
        after = cross_entropy(forward(model, batch, precision="fp32").double(), batch.labels)
    assert step < 1e-2
    assert float(after - before) / 1e-2 == pytest.approx(float(gradient[0, place, 3]), rel=0.1, abs=2e-3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_swaps_keep_token_counts_special_tokens_and_the_model():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows, swappable, whole = rows_of(TEXTS, LABELS)
    changed = swapped_rows(model, rows, swappable, whole, num_words=2)
    assert changed.offsets.tolist() == rows.offsets.tolist()
    differs = changed.values != rows.values
    assert differs.any()
    assert not (differs & ~swappable).any()
    per_row = [int(differs[a:b].sum()) for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]
    assert max(per_row) == 2
    assert whole[changed.values[differs].astype(np.int64)].all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_swaps_against_the_model_raise_its_loss_more_than_swaps_against_another():
    model = tiny_model()
    rows, swappable, whole = rows_of(TEXTS, LABELS)
    own = losses(model, swapped_rows(model, rows, swappable, whole)).mean()
    foreign = losses(model, swapped_rows(tiny_model(seed=1), rows, swappable, whole)).mean()
    assert own > foreign
    assert own > losses(model, rows).mean()


def test_nothing_to_swap_leaves_the_rows():
    rows, swappable, _ = rows_of(TEXTS, LABELS)
    none = torch.zeros(60, dtype=torch.bool)
    changed = swapped_rows(tiny_model(), rows, np.zeros_like(swappable), none)
    assert changed.values.tolist() == rows.values.tolist()


def test_a_tokenizer_without_words_is_refused():
    class Slow(dict):
        is_fast = False

    with pytest.raises(ModelError, match="the attack gradient needs a fast tokenizer"):
        swappable_tokens(Slow(input_ids=[[1]]), whole=torch.ones(3, dtype=torch.bool))


def score_of(**changes):
    options = {"max_length": 16, "batch_size": 4, "precision": "fp32", "seed": 0, **changes}
    options.setdefault("settings", settings())
    return robustness(tiny_model(), tiny_tokenizer(), TEXTS, LABELS, **options)


def test_robustness_is_the_mean_over_the_attacks_and_repeats():
    found = score_of()
    assert list(found.attacks) == ["typos", "deletion", "gradient"]
    assert found.robust_macro_f1 == pytest.approx(np.mean([score.macro_f1 for score in found.attacks.values()]))
    assert found.robust_drop == pytest.approx(found.clean.macro_f1 - found.robust_macro_f1)
    assert found.clean.changed == 0.0
    assert found == score_of()


def test_an_attack_that_the_tokenizer_does_not_see_changes_nothing():
    # The tiny tokenizer does not lower-case; digits and signs have no case.
    texts, labels = ["12 34", "!? 5"], [0, 2]
    found = robustness(
        tiny_model(), tiny_tokenizer(), texts, labels,
        settings=settings(attacks=["casing"]), max_length=16, batch_size=4, precision="fp32", seed=0,
    )  # fmt: skip
    assert found.attacks["casing"] == found.clean


def test_the_sample_is_drawn_once_per_seed():
    assert sample_of(5, num_rows=9, seed=0) == [0, 1, 2, 3, 4]
    drawn = sample_of(100, num_rows=10, seed=1)
    assert drawn == sorted(set(drawn)) == sample_of(100, num_rows=10, seed=1)
    assert len(drawn) == 10
    assert drawn != sample_of(100, num_rows=10, seed=2)


def test_the_score_of_a_round_is_the_mean_over_the_attacks_without_gradient():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    score = robust_score(model, tokenizer, TEXTS, LABELS, 0, max_length=16, precision="fp32")
    full = score_of(settings=settings(attacks=TEXT_ATTACKS, words_per_text=2))
    assert score == pytest.approx(full.robust_macro_f1)


def test_an_attack_is_named_once():
    with pytest.raises(ValueError, match="every attack is named once, found typos more than once"):
        settings(attacks=["typos", "typos", "casing"])

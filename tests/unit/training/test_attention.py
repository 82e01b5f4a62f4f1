import dataclasses

import numpy as np
import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from secateur.data.tokens import from_lists
from secateur.training.attention import PRODUCTS, attention_as_products, products
from secateur.training.batches import batches_of
from secateur.training.objectives import loss_of, outputs_of
from tests.tiny_models import tiny_generator
from tests.unit.pruning.tiny import tiny_model

GENERATORS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma3_text", "gpt_neox", "opt", "phi3")


def text_rows(*lengths: int):
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, 30, size=length).astype(np.int32) for length in lengths]
    return from_lists(rows, labels=np.zeros(len(rows), np.int64), given=(1,))


EVEN, PADDED, LONG = text_rows(12, 12, 12, 12), text_rows(12, 5, 9, 1), text_rows(300, 300)


def gradient(model, rows, *, precision):
    model.zero_grad()
    (batch,) = batches_of(rows, batch_size=4, pad_token_id=0)
    loss_of(outputs_of(model, batch, precision=precision), batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("rows", [EVEN, PADDED], ids=["even", "padded"])
@pytest.mark.parametrize("model_type", GENERATORS)
def test_products_are_the_same_attention(model_type, rows):
    model = tiny_generator(model_type).eval()
    expected = gradient(model, rows, precision="fp32")
    model.set_attn_implementation(PRODUCTS)
    torch.testing.assert_close(gradient(model, rows, precision="fp32"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_in_bf16_they_have_the_gradient_of_fp32(model_type):
    model = tiny_generator(model_type).eval()
    expected = gradient(model, EVEN, precision="fp32")
    with attention_as_products(model, "bf16", rows=EVEN):
        found = gradient(model, EVEN, precision="bf16")
    assert torch.cosine_similarity(found, expected, dim=0) > 0.999


def test_weights_are_dropped_in_training_alone():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8) for heads in (4, 2, 2))
    module = torch.nn.Module()
    module.num_key_value_groups = 2
    module.is_causal = True
    expected, _ = sdpa_attention_forward(module.eval(), query, key, value, None, scaling=0.3)
    found, _ = products(module, query, key, value, None, scaling=0.3, dropout=0.5)
    torch.testing.assert_close(found, expected)
    dropped, _ = products(module.train(), query, key, value, None, scaling=0.3, dropout=0.5)
    assert not torch.allclose(dropped, expected)


def test_capped_scores_are_refused():
    some = torch.randn(1, 1, 2, 4)
    with pytest.raises(ValueError, match="does not cap scores"):
        products(torch.nn.Module(), some, some, some, None, softcap=30.0)


def test_attention_is_left_alone_in_encoders_for_long_rows_and_in_fp32():
    model = tiny_generator("llama")
    capped = tiny_generator("gemma2")
    left = ((tiny_model(), "bf16", EVEN), (model, "bf16", LONG), (model, "fp32", EVEN), (capped, "bf16", EVEN))
    for one, precision, rows in left:
        with attention_as_products(one, precision, rows=rows):
            assert one.config._attn_implementation == ("eager" if one is capped else "sdpa")
    for rows in (EVEN, dataclasses.replace(EVEN, given=None)):
        with pytest.raises(KeyError), attention_as_products(model, "bf16", rows=rows):
            assert model.config._attn_implementation == PRODUCTS
            raise KeyError
    assert model.config._attn_implementation == "sdpa"

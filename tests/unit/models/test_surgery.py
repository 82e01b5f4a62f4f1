import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AlbertConfig, BertConfig, GPT2Config, GPTNeoConfig, MixtralConfig, T5Config

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.models.surgery import cut_, masked, widths_of
from tests.tiny_models import logits_of, tiny_model


def test_masks_of_another_size_are_refused():
    model = tiny_model()
    masks = Masks.ones(Widths(heads=(4, 4, 3), ffn=(24, 24, 24), head_dim=8))
    with pytest.raises(ModelError, match=r"masks for heads per layer \[4, 4, 3\] do not fit .* \[4, 4, 4\]"):
        cut_(model, masks)
    with pytest.raises(ModelError, match="do not fit"), masked(model, masks):
        pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            GPTNeoConfig(),
            "model_type 'gpt_neo' is not supported; supported: bert, .*distilbert, .*gemma3_text, gpt2, .*llama",
        ),
        (T5Config(), "model_type 't5' is an encoder with a decoder that attends to it, and one stack .*; supported: "),
        (AlbertConfig(), "model_type 'albert' has the same weights in all layers, .*; supported: "),
        (MixtralConfig(), "model_type 'mixtral' has experts in place of feed-forward blocks, .*; supported: "),
        (BertConfig(is_decoder=True), "bert with is_decoder: true is not supported"),
        (GPT2Config(add_cross_attention=True), "gpt2 with add_cross_attention: True is not supported; .*: False is"),
    ],
)
def test_a_foreign_architecture_is_named(config, message):
    with pytest.raises(ModelError, match=message):
        family_of(config)


def test_masks_are_gone_even_when_the_block_raises():
    model = tiny_model()
    dense = logits_of(model)
    masks = Masks.ones(widths_of(model))
    masks.heads[0][:3] = False
    with pytest.raises(KeyError), masked(model, masks):
        raise KeyError
    assert torch.equal(logits_of(model), dense)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_choice_cuts_to_the_masked_logits(data):
    model = tiny_model()
    widths = widths_of(model)

    def choose(count: int) -> torch.Tensor:
        chosen = data.draw(st.sets(st.integers(0, count - 1)))
        return torch.tensor([index in chosen for index in range(count)])

    masks = Masks(heads=tuple(map(choose, widths.heads)), ffn=tuple(map(choose, widths.ffn)))
    assume(any(mask.any() for mask in (*masks.heads, *masks.ffn)))
    with masked(model, masks):
        expected = logits_of(model)
    cut_(model, masks)
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=1e-5)


def test_cut_weights_own_their_memory():
    """A view would keep the dense tensor alive, and be saved with it."""
    model = tiny_model()
    masks = Masks.ones(widths_of(model))
    masks.heads[0][0] = False
    masks.ffn[0][0] = False
    cut_(model, masks)
    for linear in family_of(model).layers(model)[0].linears():
        assert linear.weight.is_contiguous()
        assert linear.weight.untyped_storage().nbytes() == 4 * linear.weight.numel()

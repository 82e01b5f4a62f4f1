"""What holds for every model family: being in FAMILIES is being tested."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

import secateur
from secateur.budget.cost import amount_of, cost_of, encoder_macs, structure_costs
from secateur.errors import ModelError
from secateur.families import family_named, family_of
from secateur.families.structures import Masks
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, load_base, save
from secateur.models.groups import Groups, of_attention, of_ffn
from secateur.models.surgery import cut_, masked, widths_of
from tests.tiny_models import (
    CLASSIFIER_TYPES,
    DECODER_TYPES,
    LABELS,
    MODEL_TYPES,
    logits_of,
    some_masks,
    tiny_config,
    tiny_model,
)

# fp32 sums of 32 products in another order; logits are of order 1.
TOLERANCE = 1e-5

pytestmark = pytest.mark.parametrize("model_type", CLASSIFIER_TYPES)


def absent_blocks(model: PreTrainedModel) -> Masks:
    """No heads in layer 0, no neurons in layer 1, neither in layer 2."""
    masks = some_masks(model)
    for mask in (masks.heads[0], masks.ffn[1], masks.heads[2], masks.ffn[2]):
        mask[:] = False
    return masks


def no_heads(model: PreTrainedModel) -> Masks:
    """No head anywhere."""
    masks = some_masks(model)
    return Masks(heads=tuple(torch.zeros_like(mask) for mask in masks.heads), ffn=masks.ffn)


CHOICES = pytest.mark.parametrize("choose", [some_masks, absent_blocks, no_heads])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@CHOICES
def test_the_cut_model_gives_the_logits_of_the_masked_one(model_type, attention, choose):
    model = tiny_model(model_type, attention=attention)
    dense = logits_of(model)
    masks = choose(model)
    with masked(model, masks):
        expected = logits_of(model)
    assert torch.equal(logits_of(model), dense), "the masks are gone after the block"
    cut_(model, masks)
    assert (expected - dense).abs().max() > 1e-2, "the masks do something"
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=TOLERANCE)
    assert widths_of(model) == masks.widths(8) == family_of(model).widths(model.config)


def test_two_cuts_are_one(model_type):
    twice, once = tiny_model(model_type), tiny_model(model_type)
    first = some_masks(twice, seed=0)
    cut_(twice, first)
    second = some_masks(twice, seed=1)
    cut_(twice, second)

    def through(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        both = outer.clone()
        both[outer] = inner
        return both

    cut_(
        once,
        Masks(heads=tuple(map(through, first.heads, second.heads)), ffn=tuple(map(through, first.ffn, second.ffn))),
    )
    assert torch.equal(logits_of(twice), logits_of(once))


def test_keeping_everything_changes_no_bit_and_no_config(model_type):
    model = tiny_model(model_type)
    logits, config, parameters = logits_of(model), model.config.to_dict(), list(model.parameters())
    cut_(model, Masks.ones(widths_of(model)))
    assert torch.equal(logits_of(model), logits)
    assert model.config.to_dict() == config
    assert all(now is before for now, before in zip(model.parameters(), parameters, strict=True))


def test_the_order_of_heads_and_neurons_is_without_meaning(model_type):
    """Cutting the same head after the heads were permuted gives the same function."""
    model, permuted = tiny_model(model_type), tiny_model(model_type)
    order, neurons = torch.tensor([2, 0, 3, 1]), torch.randperm(24, generator=torch.Generator().manual_seed(3))
    for index, layer in enumerate(family_of(permuted).layers(permuted)):
        for groups, permutation in ((of_attention(layer.attention), order), (of_ffn(layer.ffn), neurons)):
            permute_(groups, permutation)
        if layer.attention.numbers is not None:  # their columns go with them
            moved = replace(layer.attention, numbers=tuple(order.tolist()))
            family_of(permuted).replace_attention_(permuted, index, moved)
    masks = some_masks(model)
    cut_(model, masks)
    cut_(
        permuted,
        Masks(heads=tuple(mask[order] for mask in masks.heads), ffn=tuple(mask[neurons] for mask in masks.ffn)),
    )
    torch.testing.assert_close(logits_of(permuted), logits_of(model), rtol=0, atol=TOLERANCE)


def permute_(groups: Groups, order: torch.Tensor) -> None:
    for linear, size in zip(groups.rows, groups.row_sizes, strict=True):
        rows = (order[:, None] * size + torch.arange(size)).reshape(-1)
        linear.weight.data = linear.weight.data[rows]
        if linear.bias is not None:
            linear.bias.data = linear.bias.data[rows]
    columns = (order[:, None] * groups.unit_size + torch.arange(groups.unit_size)).reshape(-1)
    groups.columns.weight.data = groups.columns.weight.data[:, columns]


@CHOICES
def test_gradients_reach_every_parameter_after_a_cut(model_type, choose):
    model = tiny_model(model_type).train()
    cut_(model, choose(model))
    ids = torch.arange(5, 23).reshape(2, 9)
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 2])).loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@CHOICES
def test_a_step_in_bf16_moves_what_is_there(model_type, choose):
    model = tiny_model(model_type).train()
    cut_(model, choose(model))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    ids = torch.arange(5, 23).reshape(2, 9)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        cross_entropy(logits.float(), torch.tensor([0, 2])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    for name, parameter in model.named_parameters():
        assert parameter.numel() == 0 or not torch.equal(parameter, before[name]), name
        assert bool(parameter.isfinite().all()), name


def test_hooks_see_every_projection_of_an_absent_block(model_type):
    """What records inputs need not know which blocks are there."""
    model = tiny_model(model_type)
    cut_(model, absent_blocks(model))
    linears = [linear for layer in family_of(model).layers(model) for linear in layer.linears()]
    seen = []
    for linear in linears:
        linear.register_forward_pre_hook(lambda module, inputs: seen.append((id(module), inputs[0].shape[-1])))
    logits_of(model)
    assert sorted(seen) == sorted((id(linear), linear.in_features) for linear in linears)


def test_heads_may_come_back(model_type):
    model = tiny_model(model_type)
    dense = logits_of(model)
    whole = family_of(model).layers(model)[0].attention
    masks = Masks.ones(widths_of(model))
    masks.heads[0][:] = False
    cut_(model, masks)
    clone = copy.deepcopy(model)
    assert torch.equal(logits_of(clone), logits_of(model))
    assert not torch.equal(logits_of(clone), dense)
    for target in (clone, model):
        family_of(target).replace_attention_(target, 0, whole)
        assert torch.equal(logits_of(target), dense)
        assert widths_of(target).heads == (4, 4, 4)


def test_a_model_that_loses_everything_is_refused(model_type):
    model = tiny_model(model_type)
    ones = Masks.ones(widths_of(model))
    nothing = Masks(heads=tuple(~mask for mask in ones.heads), ffn=tuple(~mask for mask in ones.ffn))
    with pytest.raises(ModelError, match="leave none of the heads and neurons of 3 layers; keep at least one"):
        cut_(model, nothing)
    assert widths_of(model).heads == (4, 4, 4)


@CHOICES
@pytest.mark.filterwarnings("error:Initializing zero-element")
def test_saved_and_loaded_is_the_same_model(model_type, choose, tmp_path: Path):
    model = tiny_model(model_type)
    cut_(model, choose(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert not loaded.training
    assert widths_of(loaded) == widths_of(model)
    assert {name: value.shape for name, value in loaded.named_buffers()} == {
        name: value.shape for name, value in model.named_buffers()
    }
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in loaded.parameters())
    assert family_of(loaded).dense_widths(loaded.config) == family_of(model).dense_widths(tiny_config(model_type))


def test_transformers_reads_a_cut_model_where_it_is_told_how(model_type, tmp_path: Path):
    """Its own versions know the schema of the config, and build no layers of any of these families by it."""
    model = tiny_model(model_type)
    cut_(model, some_masks(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert config.is_heterogeneous
    assert family_of(config).widths(config) == widths_of(model)
    with secateur.in_transformers():
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    with pytest.raises(Exception, match=r"per-layer attribute|size mismatch|shape|mismatch"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")


@CHOICES
def test_the_padded_folder_loads_with_plain_transformers(model_type, choose, tmp_path: Path):
    model = tiny_model(model_type)
    cut_(model, choose(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)
    family_of(plain).prepare_(plain)
    assert set(widths_of(plain).ffn) == {max(widths_of(model).ffn)}


@CHOICES
def test_macs_agree_with_the_flop_counter(model_type, choose):
    model = tiny_model(model_type, attention="eager")
    cut_(model, choose(model))
    length = 13
    ids = torch.arange(5, 5 + length)[None]
    model.requires_grad_(False)  # the counter's hooks know of no parameter that a module is given
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert 2 * cost_of(model, length=length).macs == counter.get_total_flops()


@CHOICES
def test_every_parameter_is_embedding_layer_or_head(model_type, choose):
    model = tiny_model(model_type)
    family = family_of(model)
    cut_(model, choose(model))
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = sum(
        parameter.numel() for module in family.embedding_modules(model) for parameter in module.parameters()
    )
    cost, prices = cost_of(model), structure_costs(model.config, length=32)
    assert cost.params == total
    assert cost.nonembedding_params == total - embeddings == prices.total(widths_of(model)).params
    buffers = [tensor for tensor in model.state_dict().values() if not tensor.is_floating_point()]
    assert cost.bytes == 4 * total + sum(tensor.nbytes for tensor in buffers)
    assert encoder_macs(model, 32) == prices.total(widths_of(model)).macs
    assert amount_of(model, length=32) == amount_of(model.config, length=32) == prices.total(widths_of(model))


def test_the_attributes_that_tools_read_follow_the_cut(model_type):
    model = tiny_model(model_type)
    cut_(model, some_masks(model))
    names = {
        "distilbert": "n_heads", "gpt2": "num_heads", "opt": "num_heads", "phi3": "num_key_value_heads",
        "modernbert": "head_dim", "nomic_bert": "head_dim", "eurobert": "head_dim",
    }  # fmt: skip
    name = names.get(model_type, "num_attention_heads")
    found = [getattr(module, name) for module in model.modules() if hasattr(module, name)]
    if model_type not in (*MODEL_TYPES, *names):
        assert found == []  # there are none to follow
        return
    assert tuple(found) == ((8, 8, 8) if name == "head_dim" else widths_of(model).heads)


def test_a_copy_is_independent(model_type):
    model = tiny_model(model_type)
    clone = copy.deepcopy(model)
    cut_(clone, some_masks(clone))
    assert widths_of(model) == family_of(model).dense_widths(model.config)
    assert not model.config.is_heterogeneous


def test_a_base_model_gets_a_head_that_follows_the_seed(model_type, tmp_path: Path):
    encoder = tiny_model(model_type).base_model
    encoder.save_pretrained(tmp_path / "base")
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = load_base(tmp_path / "base", labels=["no", "yes"])
        head = family_of(model).head(model)[-1]
        heads.append(torch.cat([parameter.flatten() for parameter in head.parameters()]))
        for name, value in encoder.state_dict().items():
            if "pooler" not in name:
                assert torch.equal(model.base_model.state_dict()[name], value)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert model.config.id2label == {0: "no", 1: "yes"}


def test_from_scratch_needs_a_config_only(model_type, tmp_path: Path):
    tiny_config(model_type).save_pretrained(tmp_path / "base")
    model = load_base(tmp_path / "base", labels=LABELS, scratch=True)
    assert logits_of(model).shape == (3, 3)


def test_the_family_is_registered_under_its_model_type(model_type):
    assert family_named(model_type).model_type == model_type == tiny_config(model_type).model_type


def test_a_row_of_max_tokens_can_be_read_and_a_longer_one_not(model_type):
    model = tiny_model(model_type)
    limit = family_of(model).max_tokens(model.config)
    with torch.inference_mode():
        model(input_ids=torch.full((1, limit), 7))
        if model_type in ("deberta-v2", "eurobert", "modernbert", "nomic_bert") or (
            model_type in DECODER_TYPES and model_type not in ("gpt2", "opt")
        ):
            return  # relative and rotary positions have no table that ends
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 7))

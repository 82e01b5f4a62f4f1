"""What holds for every family of causal language models: being in FAMILIES is being tested."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

import secateur
from secateur.budget.cost import cost_of, structure_costs
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.linears import convert_
from secateur.families.structures import Masks
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, load_base, save
from secateur.models.depth import drop_layers_
from secateur.models.heads import head_of
from secateur.models.hidden import cut_hidden_
from secateur.models.rotation import can_rotate, keep_coordinates_, principal_basis, rotate_, write_kept_
from secateur.models.surgery import cut_, masked, widths_of
from tests.tiny_models import (
    DECODER_TYPES,
    FILLING,
    LABELS,
    QUERIES_PER_HEAD,
    is_hidden_size_fixed,
    logits_of,
    skip_fixed_hidden_size,
    skip_without_classifier,
    some_masks,
    tiny_config,
    tiny_generator,
)

# fp32 sums of 32 products in another order; logits are of order 1.
TOLERANCE = 2e-5

pytestmark = pytest.mark.parametrize("model_type", DECODER_TYPES)


def uneven(model: PreTrainedModel) -> Masks:
    """4, 3 and 1 heads, other neurons in every layer."""
    masks = some_masks(model)
    heads = tuple(torch.arange(4) % 4 < count for count in (4, 3, 1))
    return Masks(heads=heads, ffn=masks.ffn)


def absent_blocks(model: PreTrainedModel) -> Masks:
    """No heads in layer 0, which a cache counts its tokens by; no neurons in layer 1, neither in layer 2."""
    masks = some_masks(model)
    for mask in (masks.heads[0], masks.ffn[1], masks.heads[2], masks.ffn[2]):
        mask[:] = False
    return masks


CHOICES = pytest.mark.parametrize("choose", [uneven, absent_blocks])
TIED = pytest.mark.parametrize("tied", [True, False])


def written(model: PreTrainedModel, ids: torch.Tensor, **settings: object) -> list[list[int]]:
    mask = settings.pop("attention_mask", torch.ones_like(ids))
    rows: torch.Tensor = model.generate(
        ids, attention_mask=mask, max_new_tokens=9, do_sample=False, eos_token_id=None, pad_token_id=0, **settings
    )
    return rows[:, ids.shape[1] :].tolist()


def plain_of(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()


def require_counted(model: PreTrainedModel) -> None:
    """Its cost is what torch counts of 13 tokens, and what the costs of its structures come to."""
    ids = torch.arange(5, 18)[None]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids)
    cost = cost_of(model, length=13)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    assert cost.nonembedding_params == structure_costs(model, length=1).total(widths_of(model)).params


def require_cut_as_masked_(model: PreTrainedModel, masks: Masks, *, head_dim: int) -> None:
    """Cut a model, and compare it with what it said with the masks."""
    dense = logits_of(model)
    with masked(model, masks):
        expected = logits_of(model)
    cut_(model, masks)
    assert (expected - dense).abs().max() > 1e-2, "the masks do something"
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=TOLERANCE)
    assert widths_of(model) == masks.widths(head_dim) == family_of(model).widths(model.config)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@CHOICES
def test_the_cut_model_gives_the_logits_of_the_masked_one(model_type, attention, choose):
    model = tiny_generator(model_type, attention=attention)
    require_cut_as_masked_(model, choose(model), head_dim=8)


@CHOICES
def test_with_and_without_a_cache_the_same_text_is_written(model_type, choose):
    model = tiny_generator(model_type)
    cut_(model, choose(model))
    ids = torch.arange(5, 17).reshape(2, 6)
    assert written(model, ids, use_cache=True) == written(model, ids, use_cache=False)
    # Greedy texts of random models repeat themselves; logits tell positions apart.
    with torch.inference_mode():
        begun = model(input_ids=ids[:, :4], use_cache=True).past_key_values
        found = model(input_ids=ids[:, 4:], past_key_values=begun).logits
        torch.testing.assert_close(found, model(input_ids=ids).logits[:, 4:], rtol=0, atol=TOLERANCE)


def test_after_the_first_layer_went_the_cache_is_right(model_type):
    model = tiny_generator(model_type)
    cut_(model, uneven(model))
    drop_layers_(model, [1, 2])
    ids = torch.arange(5, 17).reshape(2, 6)
    assert written(model, ids, use_cache=True) == written(model, ids, use_cache=False)


@CHOICES
def test_a_row_that_is_padded_on_the_left_is_continued_as_alone(model_type, choose):
    model = tiny_generator(model_type)
    cut_(model, choose(model))
    short, long = torch.arange(5, 9)[None], torch.arange(20, 27)[None]
    batch = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.int64), short], dim=1), long])
    mask = (torch.arange(7) >= torch.tensor([[3], [0]])).long()
    assert written(model, batch, attention_mask=mask) == written(model, short) + written(model, long)


@TIED
@CHOICES
def test_saved_and_loaded_is_the_same_model(model_type, choose, tied, tmp_path: Path):
    model = tiny_generator(model_type, tied=tied)
    cut_(model, choose(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert head_of(loaded).per_token
    assert type(loaded) is type(model)
    assert (loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight) == tied
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
        assert any(name.endswith("lm_head.weight") for name in file.keys()) != tied  # noqa: SIM118 - no mapping
    assert loaded.generation_config.eos_token_id == 2
    ids = torch.arange(5, 11)[None]
    assert written(loaded, ids) == written(model, ids)
    save(loaded, None, tmp_path / "again", card={}, check_reload=False)
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_a_fresh_process_computes_the_same_logits(model_type, tmp_path: Path):
    if model_type not in ("gpt2", "llama"):
        pytest.skip("5 s each; these two have everything that can go wrong")
    model = tiny_generator(model_type)
    cut_(model, uneven(model))
    save(model, None, tmp_path / "model", card={}, check_reload=True)


@TIED
def test_uniform_widths_are_a_plain_checkpoint(model_type, tied, tmp_path: Path):
    """Of 2 heads with 8 features each, but where heads have to fill the hidden size."""
    model = tiny_generator(model_type, tied=tied)
    masks = Masks.ones(widths_of(model))
    for heads, neurons in zip(masks.heads, masks.ffn, strict=True):
        heads[:2] = model_type in FILLING
        neurons[::3] = False
    cut_(model, masks)
    assert not model.config.is_heterogeneous
    assert family_of(model).dense_widths(model.config) == widths_of(tiny_generator(model_type))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    plain = plain_of(tmp_path / "model")
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert family_of(loaded).dense_widths(loaded.config) == family_of(model).dense_widths(model.config)


@CHOICES
def test_the_padded_folder_loads_with_plain_transformers(model_type, choose, tmp_path: Path):
    model = tiny_generator(model_type)
    cut_(model, choose(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = plain_of(tmp_path / "padded")
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)
    ids = torch.arange(5, 11)[None]
    assert written(plain, ids) == written(model, ids)


@TIED
def test_counts_by_hand(model_type, tied):
    """60 tokens, 3 layers of 32 features, 4 heads of 8 with G queries, 24 neurons."""
    model = tiny_generator(model_type, tied=tied)
    queries = QUERIES_PER_HEAD.get(model_type, 1)
    attention, neurons, norms = 2 * 4 * queries * 8 * 32 + 2 * 4 * 8 * 32, 3 * 32 * 24, 2 * 32
    attention += {"qwen2": 3 * 32, "qwen3": 2 * 8, "gemma3_text": 2 * 8}.get(model_type, 0)
    embeddings, last = 60 * 32, 32
    if model_type in ("gemma2", "gemma3_text"):
        norms = 4 * 32
    if model_type in (*FILLING, "phi", "starcoder2"):  # biases everywhere, ungated neurons, norms with a bias
        attention += queries * 32 + 3 * 32
        neurons, norms, last = 2 * 32 * 24 + 24 + 32, 2 * 2 * 32, 2 * 32
    if model_type in ("cohere", "phi"):  # one norm per layer
        norms //= 2
    if model_type == "olmo":
        norms = last = 0
    embeddings += {"gpt2": 40 * 32, "opt": 42 * 32}.get(model_type, 0)
    head = (0 if tied else 60 * 32) + 60 * (model_type == "phi")
    cost = cost_of(model)
    assert cost.nonembedding_params == 3 * (attention + neurons + norms) + last + head
    assert cost.params == cost.nonembedding_params + embeddings
    assert cost.bytes == 4 * cost.params
    assert structure_costs(model, length=1).total(widths_of(model)).params == cost.nonembedding_params


@TIED
@CHOICES
def test_costs_follow_every_cut(model_type, choose, tied):
    skip_fixed_hidden_size(model_type)
    model = tiny_generator(model_type, attention="eager", tied=tied)
    cut_(model, choose(model))
    drop_layers_(model, [0, 1])
    cut_hidden_(model, torch.arange(32) < 28)
    require_counted(model)


@CHOICES
def test_gradients_reach_every_parameter_after_a_cut(model_type, choose):
    model = tiny_generator(model_type).train()
    cut_(model, choose(model))
    ids = torch.arange(5, 23).reshape(2, 9)
    logits = model(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1])).logits
    cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_layers_that_go_leave_what_the_others_see(model_type, tmp_path: Path):
    """By hand: the middle layer's output is its input. Kinds, windows and positions of the others stay theirs."""
    model = tiny_generator(model_type)
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == 3)
    handle = blocks[1].register_forward_hook(lambda _, inputs, output: inputs[0])
    expected = logits_of(model)
    handle.remove()
    drop_layers_(model, [0, 2])
    assert torch.equal(logits_of(model), expected)
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(logits_of(load(tmp_path / "model")), expected)
    torch.testing.assert_close(logits_of(plain_of(tmp_path / "model")), expected, rtol=0, atol=TOLERANCE)


@TIED
def test_a_smaller_vocabulary_is_the_same_model_of_fewer_tokens(model_type, tied, tmp_path: Path):
    model = tiny_generator(model_type, tied=tied)
    rows = [0, 2, *range(5, 40)]
    ids = torch.tensor([[7, 30, 12, 39]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits[..., rows]
        family_of(model).replace_vocabulary_(model, rows)
        torch.testing.assert_close(model(input_ids=ids - 3).logits, expected, rtol=0, atol=TOLERANCE)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert (model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id) == (0, None, 1)
    assert model.generation_config.eos_token_id == 1
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(loaded(input_ids=ids - 3).logits, model(input_ids=ids - 3).logits)
    assert loaded.generation_config.eos_token_id == 1


@TIED
def test_a_smaller_hidden_size_keeps_what_is_tied(model_type, tied, tmp_path: Path):
    skip_fixed_hidden_size(model_type)
    model = tiny_generator(model_type, tied=tied)
    cut_(model, uneven(model))
    cut_hidden_(model, torch.arange(32) % 8 < 7)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    ids = torch.arange(5, 11)[None]
    assert written(loaded, ids, use_cache=False) == written(model, ids)


@TIED
def test_a_rotated_model_is_the_same_model(model_type, tied):
    model = tiny_generator(model_type, tied=tied)
    basis = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    if not can_rotate(model):
        why = f"{model_type} model cannot be rotated; that takes RMS norms in front"
        if is_hidden_size_fixed(model_type):
            why = f"the hidden size of {model_type} cannot be cut, its embeddings are scaled by it"
        with pytest.raises(ModelError, match=why):
            rotate_(model, basis)
        return
    cut_(model, uneven(model))
    expected = logits_of(model)
    rotate_(model, basis)
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=1e-4)
    rotate_(model, basis.T)
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=1e-4)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied


def narrow_stream_(model: PreTrainedModel) -> torch.Tensor:
    """Let all that the stream holds lie in 24 dimensions, askew to its features; return them."""
    generator = torch.Generator().manual_seed(1)
    span = torch.linalg.qr(torch.randn(32, 24, generator=generator, dtype=torch.float64)).Q
    onto = (span @ span.T).float()
    for layer in family_of(model).layers(model):
        for linear in (layer.attention.output, layer.ffn.down):
            linear.weight.data = onto @ linear.weight.data
    table = model.get_input_embeddings()
    table.weight.data = table.weight.data @ onto
    family_of(model).tie_(model)
    return span


@TIED
def test_coordinates_that_nothing_writes_go_without_a_trace(model_type, tied, tmp_path: Path):
    """Afterwards the stream has 24. A head that is the embeddings reads what it did by a matrix in the last norm."""
    model = tiny_generator(model_type, tied=tied)
    if not can_rotate(model):
        pytest.skip("this stream cannot be rotated")
    span = narrow_stream_(model)
    expected = logits_of(model)
    rotate_(model, principal_basis(span @ span.T))
    keep_coordinates_(model, 24)
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=1e-4)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    assert torch.equal(logits_of(load(tmp_path / "model")), logits_of(model))
    if tied:
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            plain_of(tmp_path / "model")
        with secateur.in_transformers():
            assert torch.equal(logits_of(plain_of(tmp_path / "model")), logits_of(model))
    else:
        torch.testing.assert_close(logits_of(plain_of(tmp_path / "model")), expected, rtol=0, atol=1e-4)
    export_padded(tmp_path / "model", tmp_path / "padded")
    torch.testing.assert_close(logits_of(plain_of(tmp_path / "padded")), expected, rtol=0, atol=1e-4)


def rotated(model_type: str, *, attention: str = "sdpa") -> PreTrainedModel:
    """A tied model of 24 coordinates, cut elsewhere too; skips where there is none."""
    model = tiny_generator(model_type, attention=attention)
    if not can_rotate(model):
        pytest.skip("this stream cannot be rotated")
    cut_(model, uneven(model))
    rotate_(model, torch.eye(32, dtype=torch.float64).flip(0))
    keep_coordinates_(model, 24)
    return model


def test_a_rotated_head_that_is_the_embeddings_stays_them_whatever_follows(model_type, tmp_path: Path):
    """Trained further and saved by transformers, of fewer layers, coordinates and tokens."""
    model = rotated(model_type)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    ids = torch.arange(5, 23).reshape(2, 9)
    model(input_ids=ids, labels=ids).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    torch.optim.SGD(model.parameters(), lr=0.05).step()
    model.save_pretrained(tmp_path / "further", max_shard_size="8KB")
    further = load(tmp_path / "further")
    assert torch.equal(logits_of(further), logits_of(model))
    assert further.get_output_embeddings().weight is further.get_input_embeddings().weight
    drop_layers_(further, [0, 2])
    rotate_(further, torch.eye(24, dtype=torch.float64).flip(0))
    keep_coordinates_(further, 16)
    family_of(further).replace_vocabulary_(further, [0, 2, *range(5, 40)])
    save(further, None, tmp_path / "model", card={}, check_reload=model_type == "llama")
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(further))
    assert written(loaded, ids, use_cache=False) == written(further, ids)
    export_padded(tmp_path / "model", tmp_path / "padded")
    torch.testing.assert_close(logits_of(plain_of(tmp_path / "padded")), logits_of(loaded), rtol=0, atol=TOLERANCE)
    with pytest.raises(ModelError, match="is already pruned; a baseline starts from a dense model"):
        load_base(tmp_path / "model")


def test_a_rotated_head_of_16_bits_is_padded_to_the_same_logits(model_type, tmp_path: Path):
    model = convert_(rotated(model_type), torch.bfloat16)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = plain_of(tmp_path / "padded")
    assert plain.dtype == torch.float32
    torch.testing.assert_close(logits_of(plain), logits_of(convert_(model, torch.float32)), rtol=0, atol=TOLERANCE)


def test_what_a_rotated_head_costs_is_counted(model_type):
    model, dense = rotated(model_type, attention="eager"), tiny_generator(model_type)
    require_counted(model)
    total = structure_costs(model, length=1).total(widths_of(model))
    foretold = dense.config
    write_kept_(foretold, 24)
    assert structure_costs(foretold, length=1).total(widths_of(model)) == total


@TIED
def test_a_generator_becomes_a_classifier(model_type, tied, tmp_path: Path):
    """From one of our dense checkpoints; what the layers compute stays, the head is fresh."""
    skip_without_classifier(model_type)
    model = tiny_generator(model_type, tied=tied)
    save(model, None, tmp_path / "generator", card={}, check_reload=False)
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        classifier = load_base(tmp_path / "generator", labels=LABELS)
        heads.append(family_of(classifier).head(classifier)[0].weight)
        ids = torch.arange(5, 11)[None]
        found, expected = (one.base_model(input_ids=ids).last_hidden_state for one in (classifier, model))
        assert torch.equal(found, expected)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert not head_of(classifier).per_token
    assert classifier.config.pad_token_id == 0
    cut_(classifier, uneven(classifier))
    save(classifier, None, tmp_path / "classifier", card={}, check_reload=False)
    loaded = load(tmp_path / "classifier")
    assert torch.equal(logits_of(loaded), logits_of(classifier))
    assert loaded.config.id2label == dict(enumerate(LABELS))
    with pytest.raises(ModelError, match="is already pruned; a baseline starts from a dense model"):
        load_base(tmp_path / "classifier", labels=LABELS)


def test_a_classifier_reads_the_last_token_that_is_no_padding(model_type, tmp_path: Path):
    """The end of a text stands in for a padding token that the config does not name."""
    skip_without_classifier(model_type)
    config = tiny_config(model_type)
    config.pad_token_id = None
    config.save_pretrained(tmp_path / "base")
    model = load_base(tmp_path / "base", labels=LABELS, scratch=True)
    assert model.config.pad_token_id == 2
    row = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 2, 2]])
    alone = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
    found = model(input_ids=padded, attention_mask=(padded != 2).long()).logits
    torch.testing.assert_close(found, alone, rtol=0, atol=TOLERANCE)
    config.eos_token_id = None
    config.save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="names neither pad_token_id nor eos_token_id"):
        load_base(tmp_path / "base", labels=LABELS, scratch=True)


def test_a_plain_generator_is_a_base(model_type, tmp_path: Path):
    tiny = AutoModelForCausalLM.from_config(tiny_config(model_type)).eval()
    tiny.save_pretrained(tmp_path / "plain")
    model = load_base(tmp_path / "plain")
    torch.testing.assert_close(logits_of(model), logits_of(tiny), rtol=0, atol=TOLERANCE)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    scratch = load_base(tmp_path / "plain", scratch=True)
    assert head_of(scratch).per_token
    assert not torch.equal(logits_of(scratch), logits_of(model))


def test_a_copy_is_independent_and_tied(model_type):
    model = tiny_generator(model_type)
    clone = copy.deepcopy(model)
    cut_(clone, uneven(clone))
    assert clone.get_output_embeddings().weight is clone.get_input_embeddings().weight
    assert widths_of(model) == family_of(model).dense_widths(model.config)


def test_the_state_is_that_of_transformers(model_type):
    """Linears in place of fused projections do not show in names, shapes or values."""
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(tiny_config(model_type))
    expected = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    family_of(plain).prepare_(plain)
    state = plain.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    plain.load_state_dict({name: tensor + 1.0 for name, tensor in expected.items()})
    assert all(torch.equal(tensor, expected[name] + 1.0) for name, tensor in plain.state_dict().items())


def test_plain_transformers_loads_a_classifier(model_type, tmp_path: Path):
    skip_without_classifier(model_type)
    tiny_config(model_type).save_pretrained(tmp_path / "base")
    model = load_base(tmp_path / "base", labels=LABELS, scratch=True)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)

"""Padded export: zeros fill every layer up to uniform widths, so that plain transformers loads the model."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from secateur.families import family_of
from secateur.families.linears import linear_from
from secateur.families.structures import Attention, Ffn
from secateur.files import replacing
from secateur.formats.closeness import require_close
from secateur.formats.padding import pad_attention, pad_columns, pad_rows, pad_vectors
from secateur.models.checkpoint import described, load, load_tokenizer, save
from secateur.models.construction import quiet
from secateur.models.heads import head_of
from secateur.models.surgery import widths_of


def export_padded(checkpoint: Path, out: Path) -> Path:
    """Write a folder that ``AutoModelForSequenceClassification.from_pretrained`` loads, or ``AutoModelForCausalLM``.

    Of an embedding model sentence-transformers loads it, or ``AutoModel``, whose hidden states are still to be pooled.

    Heads are padded to the dense count (of decoders: to the layer with most), neurons to the widest layer. A zero
    query and key attend evenly to zero values, and a zero neuron feeds a zero column: the logits stay. Where all layers
    share a table with a column per head, every head stands where its column does. The model is
    as large and as slow as one of these widths: this export is for compatibility only. A hidden size cannot be padded
    (a norm sees the zeros); where it was cut, heads and, if the config does not name them, the features of a head are
    padded until they fill it. A head that is the embeddings of a rotated model becomes one of its own, in fp32.

    Returns:
        The folder.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ModelError: no padding fits the hidden size, or the padded folder does not give the logits of the checkpoint.
    """
    source = described(checkpoint)
    card = source.changed(runtime="padded", source_weights_sha256=source.weights_sha256)
    model = load(checkpoint, verify=False)
    ids = torch.arange(24).reshape(3, 8) % model.config.vocab_size
    expected = _logits(model, ids)
    tokenizer = load_tokenizer(checkpoint) if (checkpoint / "tokenizer_config.json").is_file() else None
    pad_(model)
    with replacing(out) as folder:
        save(model, tokenizer, folder, card=card, check_reload=False)
        with quiet():
            plain = head_of(model).auto.from_pretrained(folder, local_files_only=True).eval()
        # The zeros take part in the sums, in another order of additions.
        require_close(_logits(plain, ids).numpy(), expected.numpy(), what="the padded model")
    return out


def pad_(model: PreTrainedModel) -> None:
    """Fill every layer with zeros up to the same heads and the widest FFN; the config becomes uniform.

    Raises:
        ModelError: the hidden size cannot be divided into as many heads of at least as many features.
    """
    family, layers = family_of(model), family_of(model).layers(model)
    family.plain_head_(model)
    shared = sorted({number for layer in layers for number in layer.attention.numbers or ()})
    at_least = max((1, len(shared), *widths_of(model).heads))
    num_heads, head_dim = family.padded_heads(model.config, at_least=at_least)
    width = max((1, *widths_of(model).ffn))
    if (table := family.head_table(model)) is not None:
        table.weight = nn.Parameter(pad_vectors(table.weight.detach()[:, shared], num_heads))
        table.embedding_dim = num_heads
    for index, layer in enumerate(layers):
        attention = pad_attention(_at_their_columns(layer.attention, shared), num_heads, head_dim)
        family.replace_attention_(model, index, attention)
        ups = tuple(pad_rows(up, width) for up in layer.ffn.up)
        family.replace_ffn_(model, index, Ffn(up=ups, down=pad_columns(layer.ffn.down, width)))
    model.config = family.uniform_config(model.config, heads=num_heads, ffn=width)


def _at_their_columns(attention: Attention, shared: Sequence[int]) -> Attention:
    """Return the attention with its heads where their columns are among those that layers share, zeros between."""
    if attention.numbers is None:
        return attention
    places = torch.tensor([shared.index(number) for number in attention.numbers], dtype=torch.int64)
    size = attention.head_dim
    features = (places[:, None] * size + torch.arange(size)).reshape(-1)

    def spread(linear: nn.Linear) -> nn.Linear:
        weight = linear.weight.new_zeros(len(shared) * size, linear.in_features)
        weight[features] = linear.weight.detach()
        bias = None
        if linear.bias is not None:
            bias = linear.bias.new_zeros(len(shared) * size)
            bias[features] = linear.bias.detach()
        return linear_from(weight, bias)

    own = attention.output
    weight = own.weight.new_zeros(own.out_features, len(shared) * size)
    weight[:, features] = own.weight.detach()
    return Attention(
        query=spread(attention.query),
        key=spread(attention.key),
        value=spread(attention.value),
        output=linear_from(weight, None if own.bias is None else own.bias.detach()),
        head_dim=size,
    )


def _logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    if model.dtype != torch.float32:
        model = copy.deepcopy(model).float()
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits

"""Padded export: zeros fill every layer up to uniform widths, so that plain transformers loads the model."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from secateur.errors import ModelError
from secateur.files import replacing
from secateur.models.card import read_card
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.models.construction import quiet
from secateur.models.families import family_of
from secateur.models.structures import Attention, Ffn
from secateur.models.surgery import linear_from, widths_of

# The zeros take part in the sums, in another order of additions.
_TOLERANCE = 1e-5


def export_padded(checkpoint: Path, out: Path) -> Path:
    """Write a folder that ``AutoModelForSequenceClassification.from_pretrained`` loads; return it.

    Heads are padded to the dense count (these configs cannot say otherwise), neurons to the widest layer.
    A zero query and key attend evenly to zero values, and a zero neuron feeds a zero column: the logits stay.
    The model is as large and as slow as one of these widths: this export is for compatibility only.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ModelError: the padded folder does not give the logits of the checkpoint.
    """
    model = load(checkpoint)
    ids = torch.arange(24).reshape(3, 8) % model.config.vocab_size
    expected = _logits(model, ids)
    tokenizer = load_tokenizer(checkpoint) if (checkpoint / "tokenizer_config.json").is_file() else None
    card = {**read_card(checkpoint), "runtime": "padded"}
    card["source_weights_sha256"] = card.pop("weights_sha256")
    pad_(model)
    with replacing(out) as folder:
        save(model, tokenizer, folder, card=card, check_reload=False)
        with quiet():
            plain = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        difference = (_logits(plain, ids) - expected).abs().max().item()
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"the padded model differs from the checkpoint by {difference:.2g} in the logits "
                f"({_TOLERANCE:g} is tolerated); nothing was written"
            )
    return out


def pad_(model: PreTrainedModel) -> None:
    """Fill every layer with zeros up to the dense head count and the widest FFN; the config becomes uniform."""
    family = family_of(model)
    num_heads = family.dense_widths(model.config).heads[0]
    width = max(widths_of(model).ffn)
    for index, layer in enumerate(family.layers(model)):
        attention, features = layer.attention, num_heads * layer.attention.head_dim
        padded = Attention(
            query=_pad_rows(attention.query, features),
            key=_pad_rows(attention.key, features),
            value=_pad_rows(attention.value, features),
            output=_pad_columns(attention.output, features),
            head_dim=attention.head_dim,
        )
        family.replace_attention_(model, index, padded)
        ups = tuple(_pad_rows(up, width) for up in layer.ffn.up)
        family.replace_ffn_(model, index, Ffn(up=ups, down=_pad_columns(layer.ffn.down, width)))
    model.config = family.uniform_config(model.config, ffn=width)


def _pad_rows(linear: nn.Linear, rows: int) -> nn.Linear:
    weight = linear.weight.detach()
    padded = weight.new_zeros(rows, weight.shape[1])
    padded[: weight.shape[0]] = weight
    return linear_from(padded, None if linear.bias is None else _pad_vector(linear.bias.detach(), rows))


def _pad_vector(vector: torch.Tensor, size: int) -> torch.Tensor:
    padded = vector.new_zeros(size)
    padded[: len(vector)] = vector
    return padded


def _pad_columns(linear: nn.Linear, columns: int) -> nn.Linear:
    weight = linear.weight.detach()
    padded = weight.new_zeros(weight.shape[0], columns)
    padded[:, : weight.shape[1]] = weight
    return linear_from(padded, None if linear.bias is None else linear.bias.detach())


def _logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits

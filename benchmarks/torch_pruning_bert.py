"""Torch-Pruning (https://github.com/VainF/Torch-Pruning) on a BERT of transformers 5.

It traces the model, prunes whole heads and FFN neurons through its own dependency graph, and ranks by its own
importances with its own defaults. The pruned module is then put into the checkpoint format that everybody uses.

What it cannot do here: it never takes the last head or neuron of a layer (a layer from which its global ranking would
take everything keeps everything), and it drops no layers. So heads and neurons alone end near 6x on MiniLM-L6; for more
speed the residual stream is narrowed as well, as in its own BERT example.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.families import family_of
from secateur.families.structures import Layer, Widths
from secateur.models.construction import build
from secateur.models.surgery import widths_of
from secateur.training.batches import Batch
from secateur.training.objectives import forward

Ranking = Literal["local", "global"]
"""``local``: the same share in every layer, as in its BERT example; ``global``: its isomorphic ranking of all layers
(Fang et al. 2024), which is what it offers for transformers where layers may differ."""

Gradients = Mapping[str, Tensor]


def prune(
    model: PreTrainedModel,
    *,
    importance: tp.importance.Importance,
    ranking: Ranking,
    heads: float,
    ffn: float,
    ffn_multiple: int,
    gradients: Gradients | None = None,
) -> PreTrainedModel:
    """Return a copy without a share of the heads and of the FFN neurons.

    Args:
        model: not changed.
        importance: one of Torch-Pruning's.
        ranking: within a layer, or over all of them.
        heads: share of heads to remove; the last head of a layer always stays.
        ffn: share of neurons to remove.
        ffn_multiple: neurons stay in multiples of this.
        gradients: by parameter name, for Taylor importance.
    """
    pruned = _traceable(model, gradients)
    family = family_of(pruned)
    layers = family.layers(pruned)
    fixed = [family.embeddings(pruned), *family.head(pruned), *_norms(pruned)]
    outputs = [linear for layer in layers for linear in (layer.attention.output, layer.ffn.down)]
    pruner = _pruner(
        pruned,
        importance=importance,
        global_pruning=ranking == "global",
        isomorphic=ranking == "global",
        pruning_ratio=min(ffn, 1.0 - ffn_multiple / layers[0].ffn.width),
        head_pruning_ratio=min(heads, _all_but_one(layers)),
        prune_num_heads=True,
        prune_head_dims=False,
        ignored_layers=[*fixed, *outputs],
        round_to=ffn_multiple,
    )
    pruner.step()
    return _restored(pruned, model)


def prune_everywhere(
    model: PreTrainedModel,
    *,
    importance: tp.importance.Importance,
    share: float,
    ffn: float,
    gradients: Gradients | None = None,
) -> PreTrainedModel:
    """Return a copy without a share of heads and residual features, and a share of the neurons of every layer.

    The residual stream keeps a multiple of the features per head, so that the config stays one that transformers can
    build: as many heads as the narrower stream has room for, and the real number in every layer.
    """
    pruned = _traceable(model, gradients)
    layers = family_of(pruned).layers(pruned)
    dim = layers[0].attention.head_dim
    pruner = _pruner(
        pruned,
        importance=importance,
        global_pruning=False,
        pruning_ratio=min(share, 1.0 - dim / layers[0].attention.output.out_features),
        pruning_ratio_dict={up: min(ffn, 1.0 - dim / layer.ffn.width) for layer in layers for up in layer.ffn.up},
        head_pruning_ratio=min(share, _all_but_one(layers)),
        prune_num_heads=True,
        prune_head_dims=False,
        ignored_layers=[family_of(pruned).head(pruned)[-1]],
        round_to=dim,
    )
    pruner.step()
    return _restored(pruned, model)


def taylor_gradients(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> Gradients:
    """Return the gradient of the loss, summed over the calibration rows, which Taylor importance reads."""
    scored = copy.deepcopy(model).eval().requires_grad_(True)
    for batch in batches:
        loss = cross_entropy(forward(scored, batch, precision=precision), batch.labels, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad for name, parameter in scored.named_parameters() if parameter.grad is not None}


def _traceable(model: PreTrainedModel, gradients: Gradients | None) -> PreTrainedModel:
    """Copy a model for tracing: eager attention, because the fused kernel hides how heads hang together."""
    traceable = copy.deepcopy(model).eval().requires_grad_(True)
    traceable.set_attn_implementation("eager")
    for name, parameter in traceable.named_parameters():
        parameter.grad = None if gradients is None or name not in gradients else gradients[name].clone()
    return traceable


def _pruner(model: PreTrainedModel, **settings: object) -> tp.pruner.BasePruner:
    ids = torch.ones(2, 8, dtype=torch.int64)
    return tp.pruner.BasePruner(
        model,
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        num_heads=_heads(family_of(model).layers(model)),
        # Its default is one dictionary for all pruners of the process.
        out_channel_groups={},
        in_channel_groups={},
        output_transform=lambda output: output.logits.sum(),
        **settings,
    )


def _heads(layers: tuple[Layer, ...]) -> dict[nn.Module, int]:
    return {
        linear: layer.attention.num_heads
        for layer in layers
        for linear in (layer.attention.query, layer.attention.key, layer.attention.value)
    }


def _all_but_one(layers: tuple[Layer, ...]) -> float:
    """Return the largest share of heads: it rounds the number to go up, and takes nothing if that is all of a layer."""
    return 1.0 - 1.5 / max(layer.attention.num_heads for layer in layers)


def _norms(model: PreTrainedModel) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.LayerNorm)]


def _restored(pruned: PreTrainedModel, original: PreTrainedModel) -> PreTrainedModel:
    """Build a checkpointable model around the weights of a pruned module; widths are read from its shapes."""
    family = family_of(pruned)
    layers = family.layers(pruned)
    widths = Widths(
        heads=tuple(layer.attention.num_heads for layer in layers),
        ffn=tuple(layer.ffn.width for layer in layers),
        head_dim=layers[0].attention.head_dim,
    )
    config = copy.deepcopy(original.config)
    hidden = layers[0].attention.output.out_features
    if hidden != family.hidden_size(config):
        config.hidden_size = hidden
        config.num_attention_heads = hidden // widths.head_dim
    family.write_widths_(config, widths)
    restored = build(config, {name: tensor.detach().clone() for name, tensor in pruned.state_dict().items()})
    assert widths_of(restored) == widths  # read from shapes on both sides
    return restored

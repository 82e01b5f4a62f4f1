"""Features of the residual stream go: in the embeddings, every norm, every projection and the head."""

import copy
from dataclasses import replace

import torch
from torch import nn
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Ffn
from secateur.models.surgery import keep_columns, keep_rows


def cut_hidden_(model: PreTrainedModel, keep: torch.Tensor, *, keep_head: torch.Tensor | None = None) -> None:
    """Remove features of the residual stream for good, and record the new hidden size in the config.

    Heads, neurons and features per head stay. The norms average over fewer features, so unlike the cut of a head
    there is no masked model with the same logits: even features that are zero everywhere leave a trace.
    Optimisers built before the call hold the old parameters.

    Args:
        model: changed in place.
        keep: ``(E,)`` booleans, True = keep.
        keep_head: ``(E,)``: features between the linears of the head. They are no part of the residual stream,
            but the config has one number for both; ``keep`` when it is left out.

    Raises:
        ModelError: a mask has another size, keeps nothing, or the two keep different numbers; or the architecture
            accepts no such hidden size.
    """
    family = family_of(model)
    hidden_size = family.hidden_size(model.config)
    inner = keep if keep_head is None else keep_head
    _check_masks(keep, inner, hidden_size=hidden_size)
    if bool(keep.all()):
        return
    # First on a copy: not every architecture's config accepts every size.
    family.write_hidden_size_(copy.deepcopy(model.config), int(keep.sum()))
    for index, layer in enumerate(family.layers(model)):
        attention = layer.attention
        narrow = replace(
            attention,
            query=keep_columns(attention.query, keep),
            key=keep_columns(attention.key, keep),
            value=keep_columns(attention.value, keep),
            output=keep_rows(attention.output, keep),
        )
        family.replace_attention_(model, index, narrow)
        ups = tuple(keep_columns(up, keep) for up in layer.ffn.up)
        family.replace_ffn_(model, index, Ffn(up=ups, down=keep_rows(layer.ffn.down, keep)))
    _narrow_vectors_(model, keep)
    _narrow_head_(model, keep, inner)
    family.write_hidden_size_(model.config, int(keep.sum()))


def _check_masks(keep: torch.Tensor, inner: torch.Tensor, *, hidden_size: int) -> None:
    for mask in (keep, inner):
        if mask.dtype != torch.bool or mask.shape != (hidden_size,):
            raise ModelError(
                f"a mask of {tuple(mask.shape)} {mask.dtype} does not fit a hidden size of {hidden_size}; "
                f"({hidden_size},) booleans would"
            )
    if not bool(keep.any()) or int(keep.sum()) != int(inner.sum()):
        raise ModelError(
            f"asked to keep {int(keep.sum())} features of the layers and {int(inner.sum())} of the head; "
            "the same number, one or more, would work"
        )


def _narrow_vectors_(model: PreTrainedModel, keep: torch.Tensor) -> None:
    """Narrow norms, and what the residual stream begins with: embeddings, or the entrance behind narrower ones."""
    family = family_of(model)
    entrance = family.entrance(model)
    if entrance is not None:
        name = next(name for name, module in model.named_modules() if module is entrance)
        model.set_submodule(name, keep_rows(entrance, keep))
    norms = {id(norm): norm for norm in family.stream_norms(model)}
    of_heads = family.head_table(model)
    for module in () if entrance is not None else family.embedding_modules(model):
        for part in module.modules():
            if part is of_heads:
                continue
            if isinstance(part, nn.Embedding):
                part.weight = nn.Parameter(_kept(part.weight, keep))
                part.embedding_dim = int(keep.sum())
            elif isinstance(part, nn.LayerNorm):
                norms[id(part)] = part
    for norm in norms.values():
        _narrow_norm_(norm, keep)


def _narrow_norm_(norm: nn.Module, keep: torch.Tensor) -> None:
    for name, gain in list(norm.named_parameters()):
        narrow = _kept(gain, keep)
        if gain.dim() > 1:  # a matrix (``MatrixNorm``)
            narrow = narrow[keep.to(gain.device)]
        setattr(norm, name, nn.Parameter(narrow))
    if hasattr(norm, "normalized_shape"):
        vars(norm)["normalized_shape"] = (int(keep.sum()),)


def _narrow_head_(model: PreTrainedModel, keep: torch.Tensor, inner: torch.Tensor) -> None:
    """Narrow linears and norms of the head; the rows of the last one are the labels, or tokens, and stay."""
    modules = {id(module): name for name, module in model.named_modules()}
    parts = [module for part in family_of(model).head(model) for module in part.modules()]
    for norm in (module for module in parts if isinstance(module, nn.LayerNorm)):
        _narrow_norm_(norm, inner)
    linears = [module for module in parts if isinstance(module, nn.Linear)]
    for number, linear in enumerate(linears):
        narrow = keep_columns(linear, keep if number == 0 else inner)
        if number + 1 < len(linears):
            narrow = keep_rows(narrow, inner)
        model.set_submodule(modules[id(linear)], narrow)
    family_of(model).tie_(model)


def _kept(tensor: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    return tensor.detach()[..., keep.to(tensor.device)].contiguous()

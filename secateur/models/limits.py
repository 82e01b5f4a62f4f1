"""What the config of a checkpoint may ask for.

It is looked at before anything is built: a config of a few hundred bytes can ask for more memory than there is, for a
day of building layers, or for code from the Hugging Face hub.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from secateur.errors import CheckpointError

_MOST = {
    "layers": (1_000, ("num_hidden_layers", "n_layer", "n_layers", "num_layers")),
    "tokens": (2**23, ("vocab_size",)),
    "features": (2**17, ("hidden_size", "n_embd", "dim", "d_model", "embedding_size")),
    "inner features": (2**20, ("intermediate_size", "n_inner", "hidden_dim", "ffn_dim")),
    "heads": (2**12, ("num_attention_heads", "n_head", "n_heads", "num_key_value_heads")),
    "features of a head": (2**14, ("head_dim",)),
    "positions": (2**25, ("max_position_embeddings", "n_positions")),
    "types of tokens": (2**16, ("type_vocab_size",)),
    "labels": (2**20, ("num_labels",)),
}
"""Ten times and more what the largest models have."""

_CODE = ("attn_implementation", "experts_implementation", "kernel_config")
"""Keys whose value may name a repository; with ``kernels`` installed transformers would fetch its code and run it."""


def check_asked(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse a config that asks for what no model has, for more memory than there is, or for code.

    Args:
        file: of the config, for messages.
        config: its content, not yet believed.

    Raises:
        CheckpointError: naming the key, its value and what would be read; of a class that is no name as well.
    """
    named = config.get("architectures")
    if not (named is None or (isinstance(named, list) and all(isinstance(name, str) for name in named))):
        raise CheckpointError(f"{file}: architectures is {str(named)[:80]!r}; a list of names is read, or none")
    for key, value in _entries(config):
        if any(key.endswith(name) for name in _CODE) and _names_a_repository(value):
            raise CheckpointError(
                f"{file}: {key} names {str(value)[:80]!r}, code from elsewhere; nothing is fetched: remove the key"
            )
        for what, (most, keys) in _MOST.items():
            if key in keys and isinstance(value, int | float) and value > most:
                raise CheckpointError(
                    f"{file}: {key} asks for {str(value)[:40]} {what}; configs of up to {most} are read"
                )
    _check_layers(file, config.get("per_layer_config"))
    needed, there = 2 * _num_weights(config), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise CheckpointError(
            f"{file} asks for at least {needed / 1e9:.0f} GB of weights; "
            f"this machine has {there / 1e9:.0f} GB of memory"
        )


def _check_layers(file: Path, layers: Any) -> None:
    """Refuse layers that differ in more than widths: families would read them as if they did not."""
    widths = (*_MOST["heads"][1], *_MOST["inner features"][1])
    for number, layer in layers.items() if isinstance(layers, Mapping) else ():
        for key in layer if isinstance(layer, Mapping) else ():
            if key not in widths:
                raise CheckpointError(
                    f"{file}: per_layer_config of layer {number} has {str(key)[:40]!r}; layers may differ in their "
                    "heads and neurons"
                )


def check_finite(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are no numbers: a single one may answer for one rare token only, long after every proof.

    Raises:
        CheckpointError: naming the first tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{file}: {name} holds NaN or infinity; a model whose weights are finite can be used")


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, those of configs inside it (``text_config``) as well."""
    for key, value in config.items():
        yield str(key), value
        if isinstance(value, Mapping):
            yield from _entries(value)


def _names_a_repository(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names_a_repository(inner) for inner in value.values())
    return isinstance(value, str) and "/" in value


def _num_weights(config: Mapping[str, Any]) -> int:
    """Return how many weights there are at least: token embeddings, and two matrices of every feed-forward block."""
    numbers: dict[str, int] = {}
    for key, value in _entries(config):
        for what, (_, keys) in _MOST.items():
            if key in keys and isinstance(value, int):
                numbers[what] = max(numbers.get(what, 0), value)
    features, cut = numbers.get("features", 0), "per_layer_config" in config
    blocks = 0 if cut else 2 * numbers.get("layers", 0) * numbers.get("inner features", 0)
    return features * (numbers.get("tokens", 0) + blocks)

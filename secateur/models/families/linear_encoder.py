"""Post-norm encoders whose projections are separate linears: a family of this kind is a table of names."""

import copy
from dataclasses import dataclass
from typing import cast, final

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.models.structures import Attention, Ffn, Layer, Widths


@final
@dataclass(frozen=True)
class LinearEncoder:
    """One family; paths are dotted and relative to what their comment says.

    The attention of transformers 5 views its projections as ``(*, -1, head_dim)``, so narrower linears need
    no change of the forward pass; ``num_heads_attribute`` and ``all_heads_attribute`` are for tools only.
    """

    model_type: str
    # relative to the base model
    embeddings_path: str
    layers_path: str
    # relative to a layer
    attention_path: str
    query_path: str
    key_path: str
    value_path: str
    output_path: str
    up_path: str
    down_path: str
    # attributes of the attention module
    num_heads_attribute: str
    all_heads_attribute: str | None
    # relative to the model
    head_paths: tuple[str, ...]
    # keys of the config
    hidden_size_key: str
    num_layers_key: str
    num_heads_key: str
    ffn_key: str
    # RoBERTa numbers positions from pad_token_id + 1
    positions_follow_padding: bool = False

    def layers(self, model: PreTrainedModel) -> tuple[Layer, ...]:
        """See ``Family.layers``."""
        head_dim = self.dense_widths(model.config).head_dim
        return tuple(self._layer(block, head_dim) for block in self._blocks(model))

    def replace_attention_(self, model: PreTrainedModel, index: int, attention: Attention) -> None:
        """See ``Family.replace_attention_``."""
        block = self._blocks(model)[index]
        block.set_submodule(self.query_path, attention.query)
        block.set_submodule(self.key_path, attention.key)
        block.set_submodule(self.value_path, attention.value)
        block.set_submodule(self.output_path, attention.output)
        owner = block.get_submodule(self.attention_path)
        setattr(owner, self.num_heads_attribute, attention.num_heads)
        if self.all_heads_attribute is not None:
            setattr(owner, self.all_heads_attribute, attention.num_heads * attention.head_dim)

    def replace_ffn_(self, model: PreTrainedModel, index: int, ffn: Ffn) -> None:
        """See ``Family.replace_ffn_``."""
        block = self._blocks(model)[index]
        (up,) = ffn.up
        block.set_submodule(self.up_path, up)
        block.set_submodule(self.down_path, ffn.down)

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """See ``Family.embeddings``."""
        return cast("nn.Module", model.base_model.get_submodule(self.embeddings_path))

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.head``."""
        return tuple(model.get_submodule(path) for path in self.head_paths)

    def head_sizes(self, config: PreTrainedConfig) -> tuple[tuple[int, int], ...]:
        """See ``Family.head_sizes``: a dense layer, then the classifier."""
        hidden = self.hidden_size(config)
        return ((hidden, hidden), (hidden, config.num_labels))

    def hidden_size(self, config: PreTrainedConfig) -> int:
        """See ``Family.hidden_size``."""
        return self._global(config, self.hidden_size_key)

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """See ``Family.max_tokens``."""
        positions = self._global(config, "max_position_embeddings")
        return positions - self._global(config, "pad_token_id") - 1 if self.positions_follow_padding else positions

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.dense_widths``."""
        num_layers = self._global(config, self.num_layers_key)
        num_heads = self._global(config, self.num_heads_key)
        return Widths(
            heads=(num_heads,) * num_layers,
            ffn=(self._global(config, self.ffn_key),) * num_layers,
            head_dim=self.hidden_size(config) // num_heads,
        )

    def widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.widths``."""
        return Widths(
            heads=tuple(int(getattr(layer, self.num_heads_key)) for layer in config.per_layer_config),
            ffn=tuple(int(getattr(layer, self.ffn_key)) for layer in config.per_layer_config),
            head_dim=self.dense_widths(config).head_dim,
        )

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """See ``Family.write_widths_``."""
        if widths == self.dense_widths(config):
            config.per_layer_config = None
            return
        config.per_layer_config = {
            index: {self.num_heads_key: heads, self.ffn_key: ffn}
            for index, (heads, ffn) in enumerate(zip(widths.heads, widths.ffn, strict=True))
        }

    def uniform_config(self, config: PreTrainedConfig, *, ffn: int) -> PreTrainedConfig:
        """See ``Family.uniform_config``. These configs have no head_dim, hence the dense heads."""
        uniform = copy.deepcopy(config)
        uniform.per_layer_config = None
        setattr(uniform, self.ffn_key, ffn)
        return uniform

    def _blocks(self, model: PreTrainedModel) -> nn.ModuleList:
        return cast("nn.ModuleList", model.base_model.get_submodule(self.layers_path))

    def _layer(self, block: nn.Module, head_dim: int) -> Layer:
        def linear(path: str) -> nn.Linear:
            return cast("nn.Linear", block.get_submodule(path))

        attention = Attention(
            query=linear(self.query_path),
            key=linear(self.key_path),
            value=linear(self.value_path),
            output=linear(self.output_path),
            head_dim=head_dim,
        )
        return Layer(attention=attention, ffn=Ffn(up=(linear(self.up_path),), down=linear(self.down_path)))

    @staticmethod
    def _global(config: PreTrainedConfig, key: str) -> int:
        # Read past the attribute: a config with per-layer values raises when its global one is asked for.
        return int(vars(config)[key])

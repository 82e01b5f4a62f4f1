"""What the config of an encoder says: widths, sizes, and what stands around the blocks; a family is a table of this."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedConfig

from secateur.errors import ModelError
from secateur.families.bare import is_bare
from secateur.families.fused import Fusion
from secateur.families.head_filling import filling_heads
from secateur.families.layer_count import forget_layers_, name_layers_
from secateur.families.structures import Anatomy, Head, Widths

Part = Callable[..., tuple[Tensor | None, ...]]
"""A forward pass in place of an attention's own one."""

FIRST_NORM = "first_attention_norm"
"""Key of the config, our own: the first layer reads the stream through a norm, where transformers builds none."""
PADDING = "pad_token_id"
_HEAD_DIM = "head_dim"
"""Key of the config for features per head, where they are not ``hidden size / heads``: most loaders ignore it."""


def no_positions(_: PreTrainedConfig) -> int:
    """Return 0: what is known of positions is added to the embeddings."""
    return 0


def accept(_: PreTrainedConfig) -> None:
    """Accept every variant of an architecture."""


def as_built(_: nn.Module) -> None:
    """Leave a layer as transformers builds it."""


@dataclass(frozen=True)
class EncoderConfig:
    """The table of one family; paths are dotted and relative to what their comment says."""

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
    up_paths: tuple[str, ...]
    down_path: str
    # attributes of the attention module
    num_heads_attribute: str | None
    all_heads_attribute: str | None
    # relative to the model; {base} is the name of the base model there
    head_paths: tuple[str, ...]
    # keys of the config
    hidden_size_key: str
    num_layers_key: str
    num_heads_key: str
    ffn_key: str
    forward_without_heads: Callable[..., tuple[Tensor, None]]
    # more attributes of the attention module
    head_dim_attribute: str = "attention_head_size"
    scaling_attribute: str = "scaling"
    layer_index_attribute: str = "layer_idx"
    # RoBERTa numbers positions from pad_token_id + 1
    positions_follow_padding: bool = False
    # of a linear between embeddings and layers, where the former are narrower: their size, and its path (base model)
    embedding_size_key: str | None = None
    entrance_path: str | None = None
    # there is one where they are as wide, too
    entrance_is_always: bool = False
    # tables that queries and keys are projected for beside tokens, with their norm (base model), and how many rows
    position_paths: tuple[str, ...] = ()
    num_positions: Callable[[PreTrainedConfig], int] = no_positions
    # a table with a column per head that all layers share (base model)
    head_table_path: str | None = None
    # keys of the config that are as large as the hidden size
    widths_of_head: tuple[str, ...] = ()
    # norms that the two blocks of a layer read the stream through (layer), and behind the last one (base model)
    block_norm_paths: tuple[str, str] | None = None
    final_norm_path: str | None = None
    # transformers builds the first layer without the first of these norms
    first_norm_is_missing: bool = False
    # linears of a layer that are stored as one
    fusions: tuple[Fusion, ...] = ()
    # keys of the config that say whether there are biases; a boolean where it is fixed
    attention_bias: bool | str = True
    ffn_bias: bool | str = True
    norm_bias: bool | str = True
    head_bias: bool | str = True
    # a norm in front of the classifier
    head_has_norm: bool = False
    # positions turn the features of a head, so it cannot have more of them
    is_rotary: bool = False
    # the config says how many features a head has, so heads need not fill the hidden size
    names_head_dim: bool = False
    # in place of the attention's own forward pass, where that cannot be used with other widths
    forward_with_heads: Part | None = None
    # changes what else of a layer cannot be used so
    adapt_layer_: Callable[[nn.Module], None] = as_built
    check_variant: Callable[[PreTrainedConfig], None] = accept

    generates = False
    adds_directly = True
    heads_go_together = False

    @property
    def is_pre_norm(self) -> bool:
        """See ``Family.is_pre_norm``."""
        return self.block_norm_paths is not None

    def keys_per_head(self, config: PreTrainedConfig) -> int:
        """See ``Family.keys_per_head``."""
        return 1

    def check(self, config: PreTrainedConfig) -> None:
        """See ``Family.check``."""
        self.check_variant(config)

    def first_alike(self, config: PreTrainedConfig, index: int) -> int:
        """See ``Family.first_alike``."""
        kinds = vars(config).get("layer_types")  # a layer may look at a window only
        return 0 if not kinds else list(kinds).index(kinds[index])

    @property
    def takes_biases(self) -> bool:
        """See ``Family.takes_biases``: every linear has one, or can."""
        return bool(self.attention_bias) and bool(self.ffn_bias)

    def entrance_size(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.entrance_size``."""
        if self.embedding_size_key is None:
            return None
        size = self._global(config, self.embedding_size_key)
        return None if size == self.hidden_size(config) and not self.entrance_is_always else size

    def window(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.window``."""
        sees_less = "sliding_attention" in (vars(config).get("layer_types") or ())
        return int(config.sliding_window) if sees_less else None

    def head_anatomy(self, config: PreTrainedConfig) -> Head:
        """See ``Family.head_anatomy``: a dense layer, then the classifier, which see one token per row."""
        norms = (self.final_norm_path is not None) - (self.first_norm_is_missing and not vars(config).get(FIRST_NORM))
        if is_bare(config):
            return Head(sizes=(), params=norms * self._norm_params(config), every_token=False)
        hidden = self.hidden_size(config)
        sizes = ((hidden, hidden), (hidden, config.num_labels))
        biases = hidden * _flag(config, self.head_bias) + config.num_labels
        params = sum(rows * columns for rows, columns in sizes) + biases
        return Head(
            sizes=sizes,
            params=params + (norms + self.head_has_norm) * self._norm_params(config),
            every_token=False,
        )

    def anatomy(self, config: PreTrainedConfig) -> Anatomy:
        """See ``Family.anatomy``: two norms, and biases where the config says so."""
        of_attention, of_ffn = _flag(config, self.attention_bias), _flag(config, self.ffn_bias)
        return Anatomy(
            queries_per_head=1,
            num_ups=len(self.up_paths),
            query_bias=of_attention,
            output_bias=of_attention,
            up_bias=of_ffn,
            down_bias=of_ffn,
            norm_params=2 * self._norm_params(config),
            positions=self.num_positions(config),
        )

    def hidden_size(self, config: PreTrainedConfig) -> int:
        """See ``Family.hidden_size``."""
        return self._global(config, self.hidden_size_key)

    def write_hidden_size_(self, config: PreTrainedConfig, hidden_size: int) -> None:
        """See ``Family.write_hidden_size_``."""
        head_dim, entrance = self.dense_widths(config).head_dim, self.entrance_size(config)
        if hidden_size == entrance and not self.entrance_is_always:
            raise ModelError(
                f"a hidden size of {hidden_size} is that of the embeddings, and then {self.model_type} has no linear "
                f"between the two; {hidden_size - 1} or {hidden_size + 1} would work"
            )
        setattr(config, self.hidden_size_key, hidden_size)
        if self.embedding_size_key is not None and entrance is None:
            setattr(config, self.embedding_size_key, hidden_size)
        for key in self.widths_of_head:
            if key in vars(config):
                setattr(config, key, hidden_size)
        self._write_head_dim_(config, head_dim)

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """See ``Family.max_tokens``."""
        positions = self._global(config, "max_position_embeddings")
        return positions - self._global(config, PADDING) - 1 if self.positions_follow_padding else positions

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.dense_widths``."""
        num_layers = self._global(config, self.num_layers_key)
        num_heads = self._global(config, self.num_heads_key)
        return Widths(
            heads=(num_heads,) * num_layers,
            ffn=(self._global(config, self.ffn_key),) * num_layers,
            head_dim=int(vars(config).get(_HEAD_DIM) or self.hidden_size(config) // num_heads),
        )

    def widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.widths``."""
        return Widths(
            heads=tuple(int(getattr(layer, self.num_heads_key)) for layer in config.per_layer_config),
            ffn=tuple(int(getattr(layer, self.ffn_key)) for layer in config.per_layer_config),
            head_dim=self.dense_widths(config).head_dim,
        )

    def is_dense(self, config: PreTrainedConfig) -> bool:
        """See ``Family.is_dense``."""
        dense = self.dense_widths(config)
        if vars(config).get(FIRST_NORM):
            return False
        fills = self.names_head_dim or dense.heads[0] * dense.head_dim == self.hidden_size(config)
        return not config.is_heterogeneous and fills

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """See ``Family.write_widths_``."""
        if widths == self.dense_widths(config):
            config.per_layer_config = None
            forget_layers_(config)
            return
        config.per_layer_config = {
            index: {self.num_heads_key: heads, self.ffn_key: ffn}
            for index, (heads, ffn) in enumerate(zip(widths.heads, widths.ffn, strict=True))
        }
        name_layers_(config)

    def uniform_config(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """See ``Family.uniform_config``."""
        uniform = copy.deepcopy(config)
        uniform.per_layer_config = None
        forget_layers_(uniform)
        if not self.names_head_dim:
            vars(uniform).pop(_HEAD_DIM, None)
        setattr(uniform, self.num_heads_key, heads)
        setattr(uniform, self.ffn_key, ffn)
        return uniform

    def buildable(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """See ``Family.buildable``."""
        dense = self.dense_widths(config)
        # transformers wants heads that divide the hidden size; one always does.
        plain = self.names_head_dim or dense.heads[0] * dense.head_dim == self.hidden_size(config)
        found = self.uniform_config(config, heads=dense.heads[0] if plain else 1, ffn=dense.ffn[0])
        if self.is_rotary and not plain:
            setattr(found, _HEAD_DIM, dense.head_dim)  # transformers turns features by it
        return found

    def padded_heads(self, config: PreTrainedConfig, *, at_least: int) -> tuple[int, int]:
        """See ``Family.padded_heads``."""
        if vars(config).get(FIRST_NORM):
            raise ModelError(
                f"plain transformers gives the first layer of {self.model_type} no norm before its attention, and the "
                "one that was left first has one; a model that keeps the first layer of the dense one would work"
            )
        dense = self.dense_widths(config)
        if self.names_head_dim:
            return max(dense.heads[0], at_least), dense.head_dim
        found = filling_heads(dense, hidden_size=self.hidden_size(config), at_least=at_least)
        if self.is_rotary and found[1] != dense.head_dim:
            raise ModelError(
                f"plain transformers would give the heads of this {self.model_type} {found[1]} features in place of "
                f"{dense.head_dim}, and positions turn them; a hidden size that is a multiple of {dense.head_dim} "
                "would work"
            )
        return found

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """See ``Family.take_widths_``."""
        config.per_layer_config = None
        for key in (self.num_heads_key, self.ffn_key):
            setattr(config, key, self._global(source, key))
        self._write_head_dim_(config, self.dense_widths(source).head_dim)
        self.write_widths_(config, self.widths(source))

    def _write_head_dim_(self, config: PreTrainedConfig, head_dim: int) -> None:
        vars(config).pop(_HEAD_DIM, None)
        fills = head_dim * self._global(config, self.num_heads_key) == self.hidden_size(config)
        if self.names_head_dim or not fills:
            setattr(config, _HEAD_DIM, head_dim)

    def _norm_params(self, config: PreTrainedConfig) -> int:
        return self.hidden_size(config) * (1 + _flag(config, self.norm_bias))

    @staticmethod
    def _global(config: PreTrainedConfig, key: str) -> int:
        # Read past the attribute: a config with per-layer values raises when its global one is asked for.
        return int(vars(config)[key])


def _flag(config: PreTrainedConfig, value: bool | str) -> bool:
    return bool(vars(config)[value]) if isinstance(value, str) else value

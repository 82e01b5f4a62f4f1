"""Where the configs of decoders keep their sizes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never, final

from transformers import PreTrainedConfig

from secateur.errors import ModelError
from secateur.families.head_filling import filling_heads
from secateur.families.layer_count import forget_layers_, name_layers_
from secateur.families.structures import Widths

_HEAD_DIM = "head_dim"
_ROPE = "rope_parameters"
_SHARE = "partial_rotary_factor"
_DENSE = "dense_widths"
"""Our own key: heads and neurons before any cut, where the config's global values are others. Loaders ignore it."""
_GAIN_MATRIX = "final_gain_matrix"
"""Our own key: true where the gain of the last norm is a matrix. Loaders ignore it, and refuse the matrix."""

QueryCounts = Literal["any", "dividing", "filling"]
"""Which numbers of queries an architecture accepts: any; those that divide the hidden size; those whose features
fill it, because it knows no ``head_dim``."""


@final
@dataclass(frozen=True)
class DecoderConfig:
    """Keys of a config, and how widths are written into it.

    Where all layers have the same widths, and the architecture accepts them, they become the global values: that is a
    config of plain transformers. Else the global values are the dense ones (or others that are accepted), and
    ``per_layer_config`` names what differs from them.
    """

    model_type: str
    hidden_size: str = "hidden_size"
    num_layers: str = "num_hidden_layers"
    num_queries: str = "num_attention_heads"
    num_heads: str | None = "num_key_value_heads"  # None: every query has its own key and value
    ffn: str = "intermediate_size"
    max_positions: str = "max_position_embeddings"
    query_counts: QueryCounts = "any"
    # Llama's own check reads the number of queries, which must not be a per-layer value then.
    queries_per_layer: bool = True
    # its own check looks for as many factors of long texts as hidden size and queries leave features of a head
    checks_factors: bool = False
    # norms over all queries and over all keys of a layer: a layer has one head, or none
    heads_go_together: bool = False
    # its own check looks whether the queries divide the hidden size, also where no head has so many features
    checks_division: bool = False
    # numbers that are the hidden size under another name
    equal_to_hidden: tuple[str, ...] = ()
    # lists with one value per layer
    of_layers: tuple[str, ...] = ("layer_types",)
    # the architecture computes with it outside of the weights
    is_hidden_size_fixed: bool = False
    # other values than these compute something else
    required: Mapping[str, object] = field(default_factory=dict)

    def check(self, config: PreTrainedConfig) -> None:
        """Refuse variants of the architecture that surgery does not know.

        Raises:
            ModelError: naming the first one.
        """
        for key, value in self.required.items():
            if vars(config).get(key, value) != value:
                raise ModelError(
                    f"{self.model_type} with {key}: {vars(config)[key]} is not supported; {key}: {value} is"
                )
        for key in self.equal_to_hidden:
            if vars(config)[key] != (hidden_size := vars(config)[self.hidden_size]):
                raise ModelError(
                    f"{self.model_type} with {key}: {vars(config)[key]} beside a hidden size of {hidden_size} is not "
                    "supported; equal ones are"
                )

    def value(self, config: PreTrainedConfig, key: str) -> int:
        """Return a global value; a config with per-layer values raises when its attribute is asked for."""
        if key == self.ffn and vars(config)[key] is None:
            return 4 * self.value(config, self.hidden_size)
        return int(vars(config)[key])

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """See ``Family.max_tokens``: with factors for long texts, those that are read with the others.

        Which factors a graph uses is settled when it is exported.
        """
        limit, rope = self.value(config, self.max_positions), _rope(config)
        if rope.get("rope_type") != "longrope":
            return limit
        short = rope.get("original_max_position_embeddings") or vars(config).get("original_max_position_embeddings")
        return min(limit, int(short or limit))

    def queries_per_head(self, config: PreTrainedConfig) -> int:
        """Return G."""
        if self.num_heads is None or vars(config).get(self.num_heads) is None:
            return 1
        return self.value(config, self.num_queries) // self.value(config, self.num_heads)

    def head_dim(self, config: PreTrainedConfig) -> int:
        """Return D: features of a key, or where heads go together those of all keys of a layer."""
        return self._features(config) * self.keys_per_head(config)

    def keys_per_head(self, config: PreTrainedConfig) -> int:
        """See ``Family.keys_per_head``."""
        return self._global_keys(config) if self.heads_go_together else 1

    def _features(self, config: PreTrainedConfig) -> int:
        """Return what the config calls the features of a head."""
        explicit = vars(config).get(_HEAD_DIM)
        if explicit is not None:
            return int(explicit)
        return self.value(config, self.hidden_size) // self.value(config, self.num_queries)

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.dense_widths``."""
        dense = vars(config).get(_DENSE) or self._global(config)
        num_layers = self.value(config, self.num_layers)
        return Widths(
            heads=(int(dense["heads"]),) * num_layers,
            ffn=(int(dense["ffn"]),) * num_layers,
            head_dim=self.head_dim(config),
        )

    def widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.widths``."""
        heads_key = self.num_queries if self.num_heads is None else self.num_heads
        per_head = self.queries_per_head(config) if heads_key == self.num_queries else self.keys_per_head(config)
        layers = list(config.per_layer_config)
        everywhere = self._global(config)
        return Widths(
            heads=tuple(_of_layer(layer, heads_key, everywhere["heads"] * per_head) // per_head for layer in layers),
            ffn=tuple(_of_layer(layer, self.ffn, everywhere["ffn"]) for layer in layers),
            head_dim=self.head_dim(config),
        )

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """See ``Family.write_widths_``."""
        dense, features = self.dense_widths(config), self._features(config)
        queries = self.queries_per_head(config)
        config.per_layer_config = None
        of_dense = {"heads": dense.heads[0], "ffn": dense.ffn[0]}
        everywhere = {
            "heads": self._global_heads(config, widths, dense=dense, queries=queries),
            "ffn": widths.ffn[0] if len(set(widths.ffn)) == 1 and widths.ffn[0] > 0 else dense.ffn[0],
        }
        self._write_global_(config, everywhere, queries=queries)
        vars(config).pop(_DENSE, None)
        if everywhere != of_dense:
            setattr(config, _DENSE, of_dense)
        self._write_head_dim_(config, features)
        if any(heads != everywhere["heads"] for heads in widths.heads) or set(widths.ffn) != {everywhere["ffn"]}:
            config.per_layer_config = {
                index: self._of_layer(heads=heads * self.keys_per_head(config), ffn=ffn, queries=queries)
                for index, (heads, ffn) in enumerate(zip(widths.heads, widths.ffn, strict=True))
            }
        name_layers_(config)

    def keep_layers_(self, config: PreTrainedConfig, keep: Sequence[int]) -> None:
        """Record that these layers stay, in this order."""
        widths = self.widths(config)
        config.per_layer_config = None
        of_layers = {key: values for key in self.of_layers if (values := vars(config).get(key)) is not None}
        setattr(config, self.num_layers, len(keep))
        for key, values in of_layers.items():
            setattr(config, key, [values[index] for index in keep])
        self.write_widths_(config, widths.take(keep))

    def write_hidden_size_(self, config: PreTrainedConfig, hidden_size: int) -> None:
        """See ``Family.write_hidden_size_``."""
        if self.is_hidden_size_fixed:
            raise ModelError(
                f"the hidden size of {self.model_type} cannot be cut, its embeddings are scaled by it; heads, neurons, "
                "layers and tokens can"
            )
        widths, dense, features = self.widths(config), self.dense_widths(config), self._features(config)
        setattr(config, self.ffn, self._global(config)["ffn"])
        setattr(config, _DENSE, {"heads": dense.heads[0], "ffn": dense.ffn[0]})
        setattr(config, _HEAD_DIM, features)
        for key in (self.hidden_size, *self.equal_to_hidden):
            setattr(config, key, hidden_size)
        self.write_widths_(config, widths)

    def gain_is_matrix(self, config: PreTrainedConfig) -> bool:
        """Say whether the gain of the last norm is a matrix."""
        return vars(config).get(_GAIN_MATRIX) is True

    def write_gain_matrix_(self, config: PreTrainedConfig, is_matrix: bool) -> None:
        """Record whether it is."""
        vars(config).pop(_GAIN_MATRIX, None)
        if is_matrix:
            setattr(config, _GAIN_MATRIX, True)

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """See ``Family.take_widths_``."""
        config.per_layer_config = None
        # The factor of rotary features, which `uniform` changes.
        rope = _ROPE if self.query_counts == "filling" else None
        for key in (self.num_queries, self.num_heads, self.ffn, _HEAD_DIM, _DENSE, rope):
            if key is None:
                continue
            vars(config).pop(key, None)
            if key in vars(source):
                setattr(config, key, copy.deepcopy(vars(source)[key]))
        self.write_widths_(config, self.widths(source))

    def buildable(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """See ``Family.buildable``."""
        heads, head_dim = self._global(config)["heads"], self.head_dim(config)
        if self.query_counts == "filling" and heads * head_dim != self.value(config, self.hidden_size):
            heads = 1
        return self.uniform(config, heads=heads, ffn=self._global(config)["ffn"])

    def uniform(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """See ``Family.uniform_config``."""
        uniform = copy.deepcopy(config)
        queries, head_dim = self.queries_per_head(config), self._features(config)
        uniform.per_layer_config = None
        forget_layers_(uniform)
        for key in (_DENSE, _HEAD_DIM):
            vars(uniform).pop(key, None)
        self._write_global_(uniform, {"heads": heads, "ffn": ffn}, queries=queries)
        if self.query_counts != "filling":
            setattr(uniform, _HEAD_DIM, head_dim)
        elif (rope := _rope(config)) and self._features(uniform) != head_dim:
            # Positions turn as many features of a head as before; transformers rounds their share down.
            turned = int(head_dim * rope.get(_SHARE, 1.0))
            setattr(uniform, _ROPE, {**rope, _SHARE: (turned + 0.5) / self._features(uniform)})
        return uniform

    def padded_heads(self, config: PreTrainedConfig, *, at_least: int) -> tuple[int, int]:
        """See ``Family.padded_heads``."""
        hidden_size = self.value(config, self.hidden_size)
        if self.query_counts == "filling":
            return filling_heads(self.dense_widths(config), hidden_size=hidden_size, at_least=at_least)
        queries = self.queries_per_head(config)
        for heads in range(at_least, hidden_size + 1):
            if self._accepted(config, heads=heads, queries=queries):
                return heads, self.head_dim(config)
        raise ModelError(
            f"plain {self.model_type} needs a number of queries that divides the hidden size of {hidden_size}; "
            f"{at_least} or more heads of {queries} queries do not"
        )

    def _global_heads(self, config: PreTrainedConfig, widths: Widths, *, dense: Widths, queries: int) -> int:
        uniform = widths.heads[0]
        if set(widths.heads) == {uniform} and uniform > 0 and self._accepted(config, heads=uniform, queries=queries):
            return uniform
        if self.query_counts == "filling":
            hidden_size = self.value(config, self.hidden_size)
            most = dense.heads[0]
            return next(n for n in range(most, 0, -1) if hidden_size % n == 0) if self.checks_division else most
        for heads in range(dense.heads[0], 0, -1):
            if self._accepted(config, heads=heads, queries=queries):
                return heads
        if self.checks_factors:
            raise ModelError(
                f"no number of queries leaves {self.model_type} heads of {self.head_dim(config)} features, as its "
                f"rotary factors ask for, at a hidden size of {self.value(config, self.hidden_size)}; a multiple of "
                f"{queries * self.head_dim(config)} would"
            )
        raise ModelError(
            f"the config of {self.model_type} accepts numbers of queries that divide the hidden size; "
            f"{self.value(config, self.hidden_size)} is no multiple of the {queries} queries of a head"
        )

    def _accepted(self, config: PreTrainedConfig, *, heads: int, queries: int) -> bool:
        hidden_size = self.value(config, self.hidden_size)
        if self.checks_factors and (factors := _rope(config).get("short_factor")) is not None:
            turned = hidden_size // (heads * queries) * _rope(config).get(_SHARE, 1.0)
            return int(turned) // 2 == len(factors)
        if self.query_counts == "any":
            return True
        if self.query_counts == "dividing":
            return hidden_size % (heads * queries) == 0
        if self.query_counts == "filling":
            return heads * queries * self.head_dim(config) == hidden_size
        assert_never(self.query_counts)

    def _global(self, config: PreTrainedConfig) -> dict[str, int]:
        return {
            "heads": self._global_keys(config) // self.keys_per_head(config),
            "ffn": self.value(config, self.ffn),
        }

    def _global_keys(self, config: PreTrainedConfig) -> int:
        if self.num_heads is None or vars(config).get(self.num_heads) is None:
            return self.value(config, self.num_queries)
        return self.value(config, self.num_heads)

    def _write_global_(self, config: PreTrainedConfig, values: Mapping[str, int], *, queries: int) -> None:
        # Left alone where nothing changes: GPT-2 writes None for its usual FFN.
        if values == self._global(config):
            return
        keys = values["heads"] * self.keys_per_head(config)
        setattr(config, self.num_queries, keys * queries)
        if self.num_heads is not None:
            setattr(config, self.num_heads, keys)
        setattr(config, self.ffn, values["ffn"])

    def _write_head_dim_(self, config: PreTrainedConfig, features: int) -> None:
        # Left out where it follows from the others, as in the configs of many published models.
        follows = features * self.value(config, self.num_queries) == self.value(config, self.hidden_size)
        if vars(config).get(_HEAD_DIM) is None and follows:
            return
        if self.query_counts == "filling":
            vars(config).pop(_HEAD_DIM, None)
        if self.query_counts != "filling" or not follows:
            setattr(config, _HEAD_DIM, features)

    def _of_layer(self, *, heads: int, ffn: int, queries: int) -> dict[str, int]:
        """Return the values of one layer; ``heads`` counts its keys."""
        values = {self.ffn: ffn}
        if self.num_heads is not None:
            values[self.num_heads] = heads
        if self.num_heads is None or self.queries_per_layer:
            values[self.num_queries] = heads * queries
        return values


def _rope(config: PreTrainedConfig) -> Mapping[str, Any]:
    """Return how positions turn queries and keys; nothing where kinds of layers differ in it."""
    return vars(config).get(_ROPE) or {}


def _of_layer(layer: Any, key: str, everywhere: int) -> int:
    found = vars(layer).get(key)
    return everywhere if found is None else int(found)

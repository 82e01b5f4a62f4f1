"""Encoders with one attention and one feed-forward block per layer: a family of this kind is a table of names."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast, final

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.families.encoder_config import FIRST_NORM, PADDING, EncoderConfig
from secateur.families.fused import Fused, separated
from secateur.families.structures import HEAD_NUMBERS, Attention, Ffn, Layer, Reading
from secateur.families.token_rows import keep_rows_, renumber_special_ids_


@final
@dataclass(frozen=True)
class LinearEncoder(EncoderConfig):
    """One family.

    The attention of transformers 5 views its projections as ``(*, -1, head_dim)``, so narrower linears need
    no change of the forward pass; ``num_heads_attribute`` and ``all_heads_attribute`` are for tools only. Without
    any head that view is ambiguous, and ``forward_without_heads(attention, hidden_states, ...)`` takes its place.
    """

    def prepare_(self, model: PreTrainedModel) -> None:
        """See ``Family.prepare_``."""
        for block in self._blocks(model):
            for fusion in self.fusions:
                module = block.get_submodule(fusion.path)
                if not isinstance(module, Fused):
                    block.set_submodule(fusion.path, separated(module, fusion))
            self.adapt_layer_(block)
        self._give_first_norm_(model)
        if self.forward_with_heads is None:
            return
        for layer, block in zip(self.layers(model), self._blocks(model), strict=True):
            self._set_forward_(block.get_submodule(self.attention_path), num_heads=layer.attention.num_heads)

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
        if self.num_heads_attribute is not None:
            setattr(owner, self.num_heads_attribute, attention.num_heads)
        setattr(owner, self.head_dim_attribute, attention.head_dim)
        setattr(owner, self.scaling_attribute, attention.head_dim**-0.5)
        if self.all_heads_attribute is not None:
            setattr(owner, self.all_heads_attribute, attention.num_heads * attention.head_dim)
        if (table := self.head_table(model)) is not None:
            _number_heads_(owner, attention, num_columns=table.embedding_dim)
        self._set_forward_(owner, num_heads=attention.num_heads)

    def replace_ffn_(self, model: PreTrainedModel, index: int, ffn: Ffn) -> None:
        """See ``Family.replace_ffn_``."""
        block = self._blocks(model)[index]
        for path, up in zip(self.up_paths, ffn.up, strict=True):
            block.set_submodule(path, up)
        block.set_submodule(self.down_path, ffn.down)

    def keep_layers_(self, model: PreTrainedModel, keep: Sequence[int]) -> None:
        """See ``Family.keep_layers_``."""
        widths = self.widths(model.config)
        blocks = self._blocks(model)
        model.base_model.set_submodule(self.layers_path, nn.ModuleList([blocks[index] for index in keep]))
        for number, block in enumerate(self._blocks(model)):
            owner = block.get_submodule(self.attention_path)
            if hasattr(owner, self.layer_index_attribute):
                setattr(owner, self.layer_index_attribute, number)
        owner = model.base_model.get_submodule(self.layers_path.rpartition(".")[0])
        if hasattr(owner, self.num_layers_key):
            setattr(owner, self.num_layers_key, len(keep))
        model.config.per_layer_config = None
        kinds = vars(model.config).get("layer_types")
        setattr(model.config, self.num_layers_key, len(keep))
        if kinds is not None:
            model.config.layer_types = [kinds[index] for index in keep]
        if self.first_norm_is_missing and keep[0] != 0:
            setattr(model.config, FIRST_NORM, True)
        self.write_widths_(model.config, widths.take(keep))

    def replace_vocabulary_(self, model: PreTrainedModel, rows: Sequence[int]) -> None:
        """See ``Family.replace_vocabulary_``."""
        new_ids = {old: new for new, old in enumerate(rows)}
        padding = vars(model.config).get(PADDING)
        if padding is not None and padding not in new_ids:
            raise ModelError(f"the id {padding} pads the rows of this model and must be kept")
        if padding is not None and self.positions_follow_padding and new_ids[padding] != padding:
            raise ModelError(f"positions are counted from the padding id {padding}; every id below it must be kept")
        keep_rows_(model, rows)
        model.config.vocab_size = len(rows)
        renumber_special_ids_(model.config, new_ids)

    def add_biases_(self, model: PreTrainedModel) -> None:
        """See ``Family.add_biases_``."""
        for layer in self.layers(model):
            attention, ffn = layer.attention, layer.ffn
            of_attention = (attention.query, attention.key, attention.value, attention.output)
            for key, linears in ((self.attention_bias, of_attention), (self.ffn_bias, (*ffn.up, ffn.down))):
                if isinstance(key, str):
                    setattr(model.config, key, True)
                    for linear in linears:
                        give_bias_(linear)

    def tie_(self, model: PreTrainedModel) -> None:
        """See ``Family.tie_``: a classifier ties nothing."""

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """See ``Family.embeddings``."""
        return cast("nn.Module", model.base_model.get_submodule(self.embeddings_path))

    def entrance(self, model: PreTrainedModel) -> nn.Linear | None:
        """See ``Family.entrance``."""
        if self.entrance_path is None:
            return None
        return cast("nn.Linear | None", _found(model.base_model, self.entrance_path))

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.head``: an encoder alone has none."""
        if model.base_model is model:
            return ()
        base = model.base_model_prefix
        return tuple(model.get_submodule(path.format(base=base)) for path in self.head_paths)

    def embedding_modules(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.embedding_modules``."""
        base, own = model.base_model, self.embeddings(model)
        tables = (part for path in self.position_paths if (part := _found(base, path)) is not None)
        of_heads = self.head_table(model)
        return (own, *tables) if of_heads is None else (own, *tables, of_heads)

    def head_table(self, model: PreTrainedModel) -> nn.Embedding | None:
        """See ``Family.head_table``."""
        path = self.head_table_path
        return None if path is None else cast("nn.Embedding", model.base_model.get_submodule(path))

    def stream_norms(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.stream_norms``: all norms there are, but for one before the entrance, or of positions."""
        paths = self.block_norm_paths or ()
        first = [block.get_submodule(path) for block in self._blocks(model) for path in paths]
        apart = [module for part in self.embedding_modules(model)[1:] for module in part.modules()]
        if self.entrance(model) is not None:
            apart += self.embeddings(model).modules()
        apart += first
        others = (
            module
            for module in model.base_model.modules()
            if isinstance(module, nn.LayerNorm) and all(module is not other for other in apart)
        )
        return (*first, *others)

    def readings(self, model: PreTrainedModel) -> tuple[Reading, ...] | None:
        """See ``Family.readings``: norms stand inside the stream, or take its mean off."""
        return None

    def rotates(self, config: PreTrainedConfig) -> bool:
        """See ``Family.rotates``."""
        return False

    def write_gain_matrix_(self, config: PreTrainedConfig) -> None:
        """See ``Family.write_gain_matrix_``: nothing is rotated."""

    def plain_head_(self, model: PreTrainedModel) -> None:
        """See ``Family.plain_head_``: there is no other."""

    def _set_forward_(self, attention: nn.Module, *, num_heads: int) -> None:
        # On the instance, not as another module: names of the state stay, and heads may come back.
        forward = self.forward_with_heads if num_heads else self.forward_without_heads
        if forward is None:
            attention.__dict__.pop("forward", None)
        else:
            # A partial, unlike a method of that name, is pickled with what it calls.
            attention.__dict__["forward"] = partial(forward, attention)

    def _blocks(self, model: PreTrainedModel) -> nn.ModuleList:
        return cast("nn.ModuleList", model.base_model.get_submodule(self.layers_path))

    def _layer(self, block: nn.Module, head_dim: int) -> Layer:
        def linear(path: str) -> nn.Linear:
            return cast("nn.Linear", block.get_submodule(path))

        numbers = None
        if self.head_table_path is not None:
            stored = getattr(block.get_submodule(self.attention_path), HEAD_NUMBERS, None)
            count = linear(self.query_path).out_features // head_dim
            numbers = tuple(range(count)) if stored is None else tuple(stored.tolist())
        attention = Attention(
            query=linear(self.query_path),
            key=linear(self.key_path),
            value=linear(self.value_path),
            output=linear(self.output_path),
            head_dim=head_dim,
            numbers=numbers,
        )
        ups = tuple(linear(path) for path in self.up_paths)
        return Layer(attention=attention, ffn=Ffn(up=ups, down=linear(self.down_path)))

    def _give_first_norm_(self, model: PreTrainedModel) -> None:
        """Put the norm into the first layer that the config tells of, without values yet."""
        if self.block_norm_paths is None or not vars(model.config).get(FIRST_NORM):
            return
        (attention_path, ffn_path), block = self.block_norm_paths, self._blocks(model)[0]
        if isinstance(block.get_submodule(attention_path), nn.Identity):
            block.set_submodule(attention_path, copy.deepcopy(block.get_submodule(ffn_path)))


def _number_heads_(owner: nn.Module, attention: Attention, *, num_columns: int) -> None:
    """Let an attention know which columns are those of its heads, unless it has all of them in their order."""
    owner._buffers.pop(HEAD_NUMBERS, None)
    owner._non_persistent_buffers_set.discard(HEAD_NUMBERS)
    numbers = attention.numbers
    if numbers and numbers != tuple(range(num_columns)):
        device = attention.query.weight.device
        # Shapes are made on the meta device before there are weights; a buffer has its values at once.
        owner.register_buffer(HEAD_NUMBERS, torch.tensor(numbers, device=None if device.type == "meta" else device))


def give_bias_(linear: nn.Linear) -> None:
    """Give a linear a bias of zero where it has none."""
    # torch declares a bias that may be None as one that is there.
    if cast("Tensor | None", linear.bias) is None:
        linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))


def _found(model: nn.Module, path: str) -> nn.Module | None:
    """Return a part of a model that not every variant has."""
    owner, _, name = path.rpartition(".")
    return cast("nn.Module | None", getattr(model.get_submodule(owner), name, None))

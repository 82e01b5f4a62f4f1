"""Pre-norm decoders with one attention and one feed-forward block per layer: a family is a table of names.

An encoder whose layers are a decoder's without a mask (EuroBERT) is one of these, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast, final

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.families.absent_heads import AbsentHeads
from secateur.families.bare import is_bare
from secateur.families.decoder_config import DecoderConfig
from secateur.families.fused import Fused, Fusion, separated
from secateur.families.layer_config import LayerConfig
from secateur.families.linears import convert_
from secateur.families.matrix_norm import MatrixNorm
from secateur.families.structures import Anatomy, Attention, Ffn, Head, Layer, Reading, Widths
from secateur.families.token_rows import keep_rows_, renumber_special_ids_

_POOLING = "classifier_pooling"
"""Key of the config of an encoder: a classifier that pools "late" answers for every token, and takes the mean."""


@final
@dataclass(frozen=True)
class Decoder:
    """One family; paths are dotted and relative to what their comment says.

    The attention of transformers 5 views its projections as ``(*, -1, head_dim)`` and repeats keys by a factor that
    no cut of whole groups changes, so narrower linears need no change of the forward pass. Without any head that view
    is ambiguous, and ``AbsentHeads`` takes its place.
    """

    config: DecoderConfig
    # relative to the base model
    embeddings_path: str = "embed_tokens"
    positions_path: str | None = None
    layers_path: str = "layers"
    final_norm_path: str = "norm"
    # relative to a layer
    attention_path: str = "self_attn"
    ffn_path: str = "mlp"
    attention_norm_path: str = "input_layernorm"
    ffn_norm_path: str = "post_attention_layernorm"
    # blocks read the stream through these two norms
    is_pre_norm: bool = True
    # relative to the attention and to the feed-forward block
    query_path: str = "q_proj"
    key_path: str = "k_proj"
    value_path: str = "v_proj"
    output_path: str = "o_proj"
    up_paths: tuple[str, ...] = ("gate_proj", "up_proj")
    down_path: str = "down_proj"
    # norms over the features of every query and key, relative to the attention
    query_key_norm_paths: tuple[str, str] | None = None
    # norms between what a block puts out and the residual stream, relative to a layer
    output_norm_paths: tuple[str, ...] = ()
    # relative to the model: of a generator, of a classifier
    language_head_path: str = "lm_head"
    label_head_paths: tuple[str, ...] = ("score",)
    # there are causal language models of it
    generates: bool = True
    # what a block puts out is added, without a factor, to what the next block reads
    adds_plainly: bool = True
    fusions: tuple[Fusion, ...] = ()
    # attributes of the attention that follow its heads, or keys and values
    num_heads_attribute: str | None = None
    key_heads_attribute: str | None = None
    split_size_attribute: str | None = None
    head_dim_attribute: str = "head_dim"
    scaling_attribute: str = "scaling"
    layer_index_attribute: str = "layer_idx"
    # name that the attention is given the cache by
    cache_argument: str = "past_key_values"
    # takes the place of a layer's forward pass, the layer first
    layer_forward: Callable[..., Tensor] | None = None
    # the forward pass of the attention asks the config for the number of queries
    asks_config: bool = False
    # norms divide by the root mean square and have a gain alone
    norm_is_rms: bool = True
    # weights of a norm for every feature; None: a gain, and where the mean is taken off a bias
    norm_weights: int | None = None
    # keys of the config that say whether linears have biases; a boolean where it is fixed
    query_bias: bool | str = False
    output_bias: bool | str = False
    ffn_bias: bool | str = False
    # the head of a language model has one
    head_bias: bool = False

    @property
    def model_type(self) -> str:
        """See ``Family.model_type``."""
        return self.config.model_type

    @property
    def adds_directly(self) -> bool:
        """See ``Family.adds_directly``."""
        return not self.output_norm_paths and self.adds_plainly

    @property
    def heads_go_together(self) -> bool:
        """See ``Family.heads_go_together``."""
        return self.config.heads_go_together

    def keys_per_head(self, config: PreTrainedConfig) -> int:
        """See ``Family.keys_per_head``."""
        return self.config.keys_per_head(config)

    def check(self, config: PreTrainedConfig) -> None:
        """See ``Family.check``."""
        self.config.check(config)

    def prepare_(self, model: PreTrainedModel) -> None:
        """See ``Family.prepare_``."""
        # Both heads have the same config; this is what tells them apart.
        model.config.architectures = [type(model).__name__]
        queries, head_dim = self.config.queries_per_head(model.config), self.config.head_dim(model.config)
        for block in self._blocks(model):
            for fusion in self.fusions:
                module = block.get_submodule(fusion.path)
                if not isinstance(module, Fused):
                    parts = separated(module, fusion, queries_per_head=queries, head_dim=head_dim)
                    block.set_submodule(fusion.path, parts)
            if self.layer_forward is not None:
                block.__dict__["forward"] = partial(self.layer_forward, block)
        for block, layer in zip(self._blocks(model), self.layers(model), strict=True):
            self._follow_(block, layer.attention, model.config)
        last = model.base_model.get_submodule(self.final_norm_path)
        if self.config.gain_is_matrix(model.config) and not isinstance(last, MatrixNorm):
            matrix = MatrixNorm(last.get_parameter("weight"), epsilon=model.config.rms_norm_eps)
            model.base_model.set_submodule(self.final_norm_path, matrix)

    def layers(self, model: PreTrainedModel) -> tuple[Layer, ...]:
        """See ``Family.layers``."""
        head_dim, queries = self.config.head_dim(model.config), self.config.queries_per_head(model.config)
        return tuple(self._layer(block, head_dim=head_dim, queries=queries) for block in self._blocks(model))

    def readings(self, model: PreTrainedModel) -> tuple[Reading, ...] | None:
        """See ``Family.readings``."""
        return self._readings(model) if self.rotates(model.config) and self.head(model) else None

    def rotates(self, config: PreTrainedConfig) -> bool:
        """See ``Family.rotates``."""
        return self.norm_is_rms and not self.output_norm_paths and not self.config.is_hidden_size_fixed

    def write_gain_matrix_(self, config: PreTrainedConfig) -> None:
        """See ``Family.write_gain_matrix_``."""
        if self.generates and writes_text(config) and config.tie_word_embeddings:
            self.config.write_gain_matrix_(config, True)

    def plain_head_(self, model: PreTrainedModel) -> None:
        """See ``Family.plain_head_``."""
        last, head = model.base_model.get_submodule(self.final_norm_path), self._language_head(model)
        if head is None or not isinstance(last, MatrixNorm):
            return
        convert_(model, torch.float32)  # 16 bits do not hold the product
        matrix, table = last.weight.detach(), head.weight.detach()
        head.weight = nn.Parameter((table.double() @ matrix.double()).float())
        gain = nn.RMSNorm(len(matrix), eps=last.epsilon, device=matrix.device)
        model.base_model.set_submodule(self.final_norm_path, gain)
        self.config.write_gain_matrix_(model.config, False)
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}

    def stream_norms(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.stream_norms``."""
        others = (block.get_submodule(path) for block in self._blocks(model) for path in self.output_norm_paths)
        if not self.is_pre_norm:
            return (*others, model.base_model.get_submodule(self.final_norm_path))
        return (*(reading.norm for reading in self._readings(model)), *others)

    def first_alike(self, config: PreTrainedConfig, index: int) -> int:
        """See ``Family.first_alike``."""
        # A layer may look at a window only, and count its positions otherwise (Gemma 3).
        kinds = vars(config).get("layer_types")
        return 0 if not kinds else list(kinds).index(kinds[index])

    def replace_attention_(self, model: PreTrainedModel, index: int, attention: Attention) -> None:
        """See ``Family.replace_attention_``."""
        block = self._blocks(model)[index]
        owner = block.get_submodule(self.attention_path)
        owner.set_submodule(self.query_path, attention.query)
        owner.set_submodule(self.key_path, attention.key)
        owner.set_submodule(self.value_path, attention.value)
        owner.set_submodule(self.output_path, attention.output)
        self._follow_(block, attention, model.config)
        if self.config.query_counts == "filling":
            # Worked out from the config's sizes, which may be others by now.
            setattr(owner, self.head_dim_attribute, attention.head_dim)
            setattr(owner, self.scaling_attribute, attention.head_dim**-0.5)
        # On the instance, not as another module: names of the state stay, and heads may come back.
        if attention.num_heads == 0:
            # A partial, unlike a method of that name, is pickled with what it calls.
            owner.__dict__["forward"] = partial(self._without_heads(), owner)
        else:
            owner.__dict__.pop("forward", None)

    def replace_ffn_(self, model: PreTrainedModel, index: int, ffn: Ffn) -> None:
        """See ``Family.replace_ffn_``."""
        owner = self._blocks(model)[index].get_submodule(self.ffn_path)
        for path, up in zip(self.up_paths, ffn.up, strict=True):
            owner.set_submodule(path, up)
        owner.set_submodule(self.down_path, ffn.down)

    def keep_layers_(self, model: PreTrainedModel, keep: Sequence[int]) -> None:
        """See ``Family.keep_layers_``."""
        blocks = self._blocks(model)
        model.base_model.set_submodule(self.layers_path, nn.ModuleList([blocks[index] for index in keep]))
        for number, block in enumerate(self._blocks(model)):
            # Where its keys and values stand in the cache.
            setattr(block.get_submodule(self.attention_path), self.layer_index_attribute, number)
        self.config.keep_layers_(model.config, keep)

    def replace_vocabulary_(self, model: PreTrainedModel, rows: Sequence[int]) -> None:
        """See ``Family.replace_vocabulary_``."""
        new_ids = {old: new for new, old in enumerate(rows)}
        padding = model.config.pad_token_id
        if padding is not None and padding not in new_ids:
            raise ModelError(f"the id {padding} pads the rows of this model and must be kept")
        head = self._language_head(model)
        keep_rows_(model, rows)
        if head is not None:
            index = torch.tensor(rows, device=head.weight.device)
            head.weight = nn.Parameter(head.weight.detach()[index])
            head.out_features = len(rows)
            if head.bias is not None:
                head.bias = nn.Parameter(head.bias.detach()[index])
        self.tie_(model)
        model.config.vocab_size = len(rows)
        for owner in (model, model.base_model):
            if hasattr(owner, "vocab_size"):
                owner.vocab_size = len(rows)
        for config in (model.config, getattr(model, "generation_config", None)):
            if config is not None:
                renumber_special_ids_(config, new_ids)

    @property
    def takes_biases(self) -> bool:
        """See ``Family.takes_biases``."""
        named = any(isinstance(kind, str) for kind in (self.query_bias, self.output_bias, self.ffn_bias))
        return named or (self.output_bias is True and self.ffn_bias is True)

    def add_biases_(self, model: PreTrainedModel) -> None:
        """See ``Family.add_biases_``."""
        kinds = (self.query_bias, self.output_bias, self.ffn_bias)
        keys = {kind for kind in kinds if isinstance(kind, str)}
        for key in keys:
            setattr(model.config, key, True)
        for layer in self.layers(model):
            attention, ffn = layer.attention, layer.ffn
            linears = ((attention.query, attention.key, attention.value), (attention.output,), (*ffn.up, ffn.down))
            for kind, of_kind in zip(kinds, linears, strict=True):
                for linear in of_kind if kind in keys else ():
                    # torch declares a bias that may be None as one that is there.
                    if cast("Tensor | None", linear.bias) is None:
                        linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))

    def tie_(self, model: PreTrainedModel) -> None:
        """See ``Family.tie_``."""
        head = self._language_head(model)
        if head is not None and model.config.tie_word_embeddings:
            head.weight = cast("nn.Embedding", model.get_input_embeddings()).weight

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """See ``Family.embeddings``."""
        return cast("nn.Module", model.base_model.get_submodule(self.embeddings_path))

    def embedding_modules(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.embedding_modules``."""
        tokens = self.embeddings(model)
        return (
            (tokens,) if self.positions_path is None else (tokens, model.base_model.get_submodule(self.positions_path))
        )

    def head_table(self, model: PreTrainedModel) -> nn.Embedding | None:
        """See ``Family.head_table``."""
        return None

    def entrance(self, model: PreTrainedModel) -> nn.Linear | None:
        """See ``Family.entrance``."""
        return None

    def entrance_size(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.entrance_size``."""
        return None

    def window(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.window``."""
        return None

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.head``."""
        if model.base_model is model:
            return ()
        language_head = self._language_head(model)
        return tuple(map(model.get_submodule, self.label_head_paths)) if language_head is None else (language_head,)

    def head_anatomy(self, config: PreTrainedConfig) -> Head:
        """See ``Family.head_anatomy``: the last norm and one linear, which sees every token."""
        hidden = self.hidden_size(config)
        if not self.generates:
            return self._encoder_head(config)
        if writes_text(config):
            outputs = self.config.value(config, "vocab_size")
            own = (0 if config.tie_word_embeddings else hidden * outputs) + outputs * self.head_bias
            if self.config.gain_is_matrix(config):
                return Head(sizes=((hidden, hidden), (hidden, outputs)), params=hidden**2 + own, every_token=True)
        else:
            outputs = config.num_labels
            own = hidden * outputs
        return Head(sizes=((hidden, outputs),), params=self._norm_params(hidden) + own, every_token=True)

    def _encoder_head(self, config: PreTrainedConfig) -> Head:
        """Return the last norm, and of a classifier a dense layer and another, both with biases."""
        hidden = self.hidden_size(config)
        if is_bare(config):
            return Head(sizes=(), params=self._norm_params(hidden), every_token=False)
        sizes = ((hidden, hidden), (hidden, config.num_labels))
        own = sum((inputs + 1) * outputs for inputs, outputs in sizes)
        pooled_first = vars(config).get(_POOLING) in ("bos", "mean")
        return Head(sizes=sizes, params=self._norm_params(hidden) + own, every_token=not pooled_first)

    def anatomy(self, config: PreTrainedConfig) -> Anatomy:
        """See ``Family.anatomy``."""
        ffn_bias = _flag(config, self.ffn_bias)
        queries = self.config.queries_per_head(config)
        # A norm over the features of a key, another over those of a query, or of all queries.
        entries = len({self.attention_norm_path, self.ffn_norm_path})
        normed = 0 if self.query_key_norm_paths is None else 1 + (queries if self.config.heads_go_together else 1)
        return Anatomy(
            queries_per_head=queries,
            num_ups=len(self.up_paths),
            query_bias=_flag(config, self.query_bias),
            output_bias=_flag(config, self.output_bias),
            up_bias=ffn_bias,
            down_bias=ffn_bias,
            norm_params=(entries * self.is_pre_norm + len(self.output_norm_paths))
            * self._norm_params(self.hidden_size(config))
            + normed * self.config.head_dim(config),
        )

    def hidden_size(self, config: PreTrainedConfig) -> int:
        """See ``Family.hidden_size``."""
        return self.config.value(config, self.config.hidden_size)

    def write_hidden_size_(self, config: PreTrainedConfig, hidden_size: int) -> None:
        """See ``Family.write_hidden_size_``."""
        self.config.write_hidden_size_(config, hidden_size)

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """See ``Family.max_tokens``."""
        return self.config.max_tokens(config)

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.dense_widths``."""
        return self.config.dense_widths(config)

    def widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.widths``."""
        return self.config.widths(config)

    def is_dense(self, config: PreTrainedConfig) -> bool:
        """See ``Family.is_dense``."""
        return self.widths(config) == self.dense_widths(config) and not self.config.gain_is_matrix(config)

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """See ``Family.write_widths_``."""
        self.config.write_widths_(config, widths)

    def buildable(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """See ``Family.buildable``."""
        return self.config.buildable(config)

    def uniform_config(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """See ``Family.uniform_config``."""
        return self.config.uniform(config, heads=heads, ffn=ffn)

    def padded_heads(self, config: PreTrainedConfig, *, at_least: int) -> tuple[int, int]:
        """See ``Family.padded_heads``."""
        return self.config.padded_heads(config, at_least=at_least)

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """See ``Family.take_widths_``."""
        self.config.take_widths_(config, source)

    def _blocks(self, model: PreTrainedModel) -> nn.ModuleList:
        return cast("nn.ModuleList", model.base_model.get_submodule(self.layers_path))

    def _layer(self, block: nn.Module, *, head_dim: int, queries: int) -> Layer:
        def linear(owner: str, path: str) -> nn.Linear:
            return cast("nn.Linear", block.get_submodule(owner).get_submodule(path))

        attention = Attention(
            query=linear(self.attention_path, self.query_path),
            key=linear(self.attention_path, self.key_path),
            value=linear(self.attention_path, self.value_path),
            output=linear(self.attention_path, self.output_path),
            head_dim=head_dim,
            queries_per_head=queries,
        )
        ups = tuple(linear(self.ffn_path, path) for path in self.up_paths)
        return Layer(attention=attention, ffn=Ffn(up=ups, down=linear(self.ffn_path, self.down_path)))

    def _readings(self, model: PreTrainedModel) -> tuple[Reading, ...]:
        found = []
        for block, layer in zip(self._blocks(model), self.layers(model), strict=True):
            attention = layer.attention
            entries = (attention.query, attention.key, attention.value)
            found.append(Reading(block.get_submodule(self.attention_norm_path), entries))
            found.append(Reading(block.get_submodule(self.ffn_norm_path), layer.ffn.up))
        first = self.head(model)[:1]
        readers = tuple(cast("nn.Linear", head) for head in first)
        return (*found, Reading(model.base_model.get_submodule(self.final_norm_path), readers))

    def _follow_(self, block: nn.Module, attention: Attention, config: PreTrainedConfig) -> None:
        """Let what counts heads beside the projections count those of this layer."""
        owner, queries = block.get_submodule(self.attention_path), attention.num_heads * attention.queries_per_head
        counted = {
            self.num_heads_attribute: queries,
            self.key_heads_attribute: attention.num_heads,
            self.split_size_attribute: queries * attention.head_dim,
        }
        for name, value in counted.items():
            if name is not None:
                setattr(owner, name, value)
        if self.asks_config:
            vars(owner)["config"] = LayerConfig(config, {self.config.num_queries: queries})
        for fusion in self.fusions:
            if fusion.interleaved:
                cast("Fused", block.get_submodule(fusion.path)).interleaved = attention.head_dim

    def _without_heads(self) -> AbsentHeads:
        return AbsentHeads(
            projection_paths=(self.query_path, self.key_path, self.value_path),
            output_path=self.output_path,
            norm_paths=self.query_key_norm_paths,
            norms_span_heads=self.config.heads_go_together,
            layer_index_attribute=self.layer_index_attribute,
            cache_argument=self.cache_argument,
        )

    def _language_head(self, model: PreTrainedModel) -> nn.Linear | None:
        return cast("nn.Linear | None", getattr(model, self.language_head_path, None))

    def _norm_params(self, features: int) -> int:
        each = self.norm_weights
        return features * ((1 if self.norm_is_rms else 2) if each is None else each)


def writes_text(config: PreTrainedConfig) -> bool:
    """Say whether the config is that of a language model; the other head of a decoder is a classifier."""
    name = str((config.architectures or ["ForCausalLM"])[0])
    return not name.endswith("ForSequenceClassification")


def _flag(config: PreTrainedConfig, value: bool | str) -> bool:
    return bool(vars(config)[value]) if isinstance(value, str) else value

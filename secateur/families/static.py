"""Static students: a vector per token, summed, and one hidden layer. There are no layers that anything is cut out of.

What is left of a transformer when its last block has gone: the bag of embeddings of fastText (Joulin et al. 2017) and
of model2vec (Tulkens and van Dongen 2024), trained on the answers of the dense model. A call costs as many additions
as the text has tokens, and two small products.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from secateur.errors import ModelError
from secateur.families.structures import Anatomy, Attention, Ffn, Head, Layer, Reading, Widths
from secateur.families.token_rows import keep_rows_, renumber_special_ids_

MODEL_TYPE = "static_student"


class StaticConfig(PreTrainedConfig):  # type: ignore[misc]  # the library is untyped
    """What a static student is: how many tokens, features of each, and neurons of the hidden layer."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        vocab_size: int = 1,
        hidden_size: int = 256,
        intermediate_size: int = 256,
        max_position_embeddings: int = 512,
        layer_norm_eps: float = 1e-5,
        pad_token_id: int | None = None,
        eos_token_id: int | None = None,
        **options: Any,
    ) -> None:
        """Take the sizes.

        Args:
            vocab_size: tokens.
            hidden_size: features of a token.
            intermediate_size: neurons of the hidden layer.
            max_position_embeddings: tokens that are read of a text; nothing depends on their places.
            layer_norm_eps: of the norm over the sum.
            pad_token_id: what pads rows; the mask leaves it out.
            eos_token_id: what a text ends with.
            options: as every config takes them.
        """
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.layer_norm_eps = layer_norm_eps
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        super().__init__(**options)


class StaticForSequenceClassification(PreTrainedModel):  # type: ignore[misc]  # the library is untyped
    """Logits of the normed sum of a text's token vectors, over the root of their number."""

    config_class = StaticConfig
    base_model_prefix = "static"
    supports_gradient_checkpointing = False

    def __init__(self, config: StaticConfig) -> None:
        """Build it; weights are drawn as torch does."""
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.hidden = nn.Linear(config.hidden_size, config.intermediate_size)
        self.classifier = nn.Linear(config.intermediate_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as torch draws them."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of the tokens."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors."""
        self.embeddings = cast("nn.Embedding", value)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Return the logits, (B, C).

        Args:
            input_ids: (B, T) int64.
            attention_mask: 1 on tokens, 0 on padding, (B, T); None = no padding.
        """
        vectors = self.embeddings(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weights = mask.to(vectors.dtype)
        summed = torch.matmul(weights.unsqueeze(1), vectors).squeeze(1)
        count = weights.sum(dim=1, keepdim=True).clamp_min(1.0)
        hidden = nn.functional.gelu(self.hidden(self.norm(summed / count.sqrt())))
        return SequenceClassifierOutput(logits=self.classifier(hidden))


AutoConfig.register(MODEL_TYPE, StaticConfig)
AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification)


@final
@dataclass(frozen=True)
class Static:
    """The family: no layers, so all that is asked of layers is empty, and what would cut them is never called."""

    model_type: str = MODEL_TYPE

    generates = False
    is_pre_norm = False
    adds_directly = False
    heads_go_together = False
    takes_biases = False

    def keys_per_head(self, config: PreTrainedConfig) -> int:
        """See ``Family.keys_per_head``."""
        return 1

    def check(self, config: PreTrainedConfig) -> None:
        """See ``Family.check``: there are no variants."""

    def prepare_(self, model: PreTrainedModel) -> None:
        """See ``Family.prepare_``: nothing is fused."""

    def layers(self, model: PreTrainedModel) -> tuple[Layer, ...]:
        """See ``Family.layers``: none."""
        return ()

    def replace_attention_(self, model: PreTrainedModel, index: int, attention: Attention) -> None:
        """See ``Family.replace_attention_``."""
        raise _no_layers()

    def replace_ffn_(self, model: PreTrainedModel, index: int, ffn: Ffn) -> None:
        """See ``Family.replace_ffn_``."""
        raise _no_layers()

    def keep_layers_(self, model: PreTrainedModel, keep: Sequence[int]) -> None:
        """See ``Family.keep_layers_``."""
        raise _no_layers()

    def replace_vocabulary_(self, model: PreTrainedModel, rows: Sequence[int]) -> None:
        """See ``Family.replace_vocabulary_``."""
        keep_rows_(model, rows)
        model.config.vocab_size = len(rows)
        renumber_special_ids_(model.config, {old: new for new, old in enumerate(rows)})

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """See ``Family.embeddings``."""
        return cast("nn.Module", model.get_input_embeddings())

    def head_table(self, model: PreTrainedModel) -> nn.Embedding | None:
        """See ``Family.head_table``."""
        return None

    def entrance(self, model: PreTrainedModel) -> nn.Linear | None:
        """See ``Family.entrance``: none."""
        return None

    def entrance_size(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.entrance_size``: none."""
        return None

    def embedding_modules(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.embedding_modules``."""
        return (model.get_input_embeddings(), model.get_submodule("norm"))

    def stream_norms(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.stream_norms``."""
        return (model.get_submodule("norm"),)

    def readings(self, model: PreTrainedModel) -> tuple[Reading, ...] | None:
        """See ``Family.readings``: nothing is rotated."""
        return None

    def rotates(self, config: PreTrainedConfig) -> bool:
        """See ``Family.rotates``."""
        return False

    def write_gain_matrix_(self, config: PreTrainedConfig) -> None:
        """See ``Family.write_gain_matrix_``: nothing is rotated."""

    def plain_head_(self, model: PreTrainedModel) -> None:
        """See ``Family.plain_head_``: there is no other."""

    def add_biases_(self, model: PreTrainedModel) -> None:
        """See ``Family.add_biases_``: all that is here has them."""

    def tie_(self, model: PreTrainedModel) -> None:
        """See ``Family.tie_``: nothing is tied."""

    def first_alike(self, config: PreTrainedConfig, index: int) -> int:
        """See ``Family.first_alike``."""
        return 0

    def window(self, config: PreTrainedConfig) -> int | None:
        """See ``Family.window``."""
        return None

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """See ``Family.head``."""
        return (model.get_submodule("hidden"), model.get_submodule("classifier"))

    def head_anatomy(self, config: PreTrainedConfig) -> Head:
        """See ``Family.head_anatomy``."""
        sizes = ((config.hidden_size, config.intermediate_size), (config.intermediate_size, config.num_labels))
        return Head(sizes=sizes, params=sum((inputs + 1) * outputs for inputs, outputs in sizes), every_token=False)

    def anatomy(self, config: PreTrainedConfig) -> Anatomy:
        """See ``Family.anatomy``: of layers that are not there."""
        return Anatomy(
            queries_per_head=1,
            num_ups=1,
            query_bias=True,
            output_bias=True,
            up_bias=True,
            down_bias=True,
            norm_params=0,
        )

    def hidden_size(self, config: PreTrainedConfig) -> int:
        """See ``Family.hidden_size``."""
        return int(config.hidden_size)

    def write_hidden_size_(self, config: PreTrainedConfig, hidden_size: int) -> None:
        """See ``Family.write_hidden_size_``."""
        config.hidden_size = hidden_size

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """See ``Family.max_tokens``."""
        return int(config.max_position_embeddings)

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.dense_widths``: none."""
        return Widths(heads=(), ffn=(), head_dim=0)

    def widths(self, config: PreTrainedConfig) -> Widths:
        """See ``Family.widths``: none."""
        return self.dense_widths(config)

    def is_dense(self, config: PreTrainedConfig) -> bool:
        """See ``Family.is_dense``: it is what it was built as."""
        return True

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """See ``Family.write_widths_``: there are none."""

    def buildable(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """See ``Family.buildable``."""
        return copy.deepcopy(config)

    def uniform_config(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """See ``Family.uniform_config``."""
        return copy.deepcopy(config)

    def padded_heads(self, config: PreTrainedConfig, *, at_least: int) -> tuple[int, int]:
        """See ``Family.padded_heads``."""
        raise ModelError(
            "a static student has no layers to pad, and plain transformers knows no such model; --to onnx would work"
        )

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """See ``Family.take_widths_``: there are none."""


STATIC = Static()


def _no_layers() -> ModelError:
    return ModelError("a static student has no layers, so nothing can be cut out of it; the dense model can be pruned")

"""What a model family answers. Hugging Face attribute names live in its files and nowhere else."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.families.structures import Anatomy, Attention, Ffn, Head, Layer, Reading, Widths


@runtime_checkable
class Family(Protocol):
    """The one adapter between an architecture and the rest of the program.

    The config of a model with narrower layers keeps the dense widths as its global values; what was cut stands
    in ``per_layer_config``, so dense and current widths can both be read from it. Depth, hidden size and
    vocabulary are global: a config says what they are, not what they were.
    """

    @property
    def model_type(self) -> str:
        """The ``model_type`` of the config."""
        ...

    @property
    def generates(self) -> bool:
        """Whether there are causal language models of this architecture."""
        ...

    @property
    def is_pre_norm(self) -> bool:
        """Whether blocks read the residual stream through a norm and add to the stream itself."""
        ...

    @property
    def adds_directly(self) -> bool:
        """Whether the last projection of a block is what is added to the residual stream, without norm or factor."""
        ...

    @property
    def heads_go_together(self) -> bool:
        """Whether all queries and keys of a layer count as one head, because norms span them."""
        ...

    def keys_per_head(self, config: PreTrainedConfig) -> int:
        """Return how many keys of a cache a head has: one, or all of a layer where heads go together."""
        ...

    def check(self, config: PreTrainedConfig) -> None:
        """Refuse variants of the architecture that surgery does not know.

        Raises:
            ModelError: naming what is not supported.
        """
        ...

    def prepare_(self, model: PreTrainedModel) -> None:
        """Turn what transformers builds into what the methods below work on: linears in place of fused projections.

        Names and shapes of the state stay; the config names the class. Nothing happens to a model that was prepared
        before.
        """
        ...

    def layers(self, model: PreTrainedModel) -> tuple[Layer, ...]:
        """Return the layers in forward order; the modules are the model's own."""
        ...

    def replace_attention_(self, model: PreTrainedModel, index: int, attention: Attention) -> None:
        """Put other projections into layer ``index`` and update the attributes that go with them.

        Having no heads is allowed: such a block adds the bias of its output projection and attends to nothing.
        """
        ...

    def replace_ffn_(self, model: PreTrainedModel, index: int, ffn: Ffn) -> None:
        """Put other projections into layer ``index``."""
        ...

    def keep_layers_(self, model: PreTrainedModel, keep: Sequence[int]) -> None:
        """Keep these layers in this order; number of layers and ``per_layer_config`` follow."""
        ...

    def replace_vocabulary_(self, model: PreTrainedModel, rows: Sequence[int]) -> None:
        """Keep these rows of the token embeddings in this order; size and special ids of the config follow.

        So do the outputs of a language model's head.

        Raises:
            ModelError: the padding token goes, or moves where positions are counted from it.
        """
        ...

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """Return the module whose output the residual stream begins with; it holds the token embeddings.

        Where they are narrower than the stream, ``entrance`` stands between.
        """
        ...

    def entrance(self, model: PreTrainedModel) -> nn.Linear | None:
        """Return the linear that makes embeddings as wide as the residual stream; None where they are."""
        ...

    def entrance_size(self, config: PreTrainedConfig) -> int | None:
        """Return how wide embeddings are that an entrance follows; None where there is none."""
        ...

    def embedding_modules(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """Return the modules that hold every embedding, with their norm."""
        ...

    def head_table(self, model: PreTrainedModel) -> nn.Embedding | None:
        """Return the table that all layers share and that has a column per dense head; None where there is none.

        It stays as it is, whatever heads go: a layer tells its columns (``Attention.numbers``).
        """
        ...

    def stream_norms(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """Return the norms that the residual stream passes.

        Of pre-norm models first those that blocks read through, attention and feed-forward block of each layer.
        """
        ...

    def readings(self, model: PreTrainedModel) -> tuple[Reading, ...] | None:
        """Return, in forward order, what reads the residual stream: the blocks and the head.

        None where the stream cannot be rotated (``rotates``), or nothing reads its end.
        """
        ...

    def rotates(self, config: PreTrainedConfig) -> bool:
        """Say whether the residual stream can be written in another basis.

        It cannot where norms stand inside it, or do more than divide by the root mean square and multiply by a gain.
        """
        ...

    def write_gain_matrix_(self, config: PreTrainedConfig) -> None:
        """Record that the gain of the last norm is a matrix, where one table is embeddings and head of a rotated model.

        ``prepare_`` makes it one. Nothing happens where the head has its own weights.
        """
        ...

    def plain_head_(self, model: PreTrainedModel) -> None:
        """Give the head weights of its own, in place of a gain that is a matrix, which plain transformers lacks.

        All weights are in fp32 then. Nothing happens where the gain is none.
        """
        ...

    @property
    def takes_biases(self) -> bool:
        """Whether a block's last projection has a bias, or can be given one that the config tells of."""
        ...

    def add_biases_(self, model: PreTrainedModel) -> None:
        """Give the linears of the layers biases of zero where they have none and the config can say so."""
        ...

    def tie_(self, model: PreTrainedModel) -> None:
        """Let the head of a language model be the token embeddings again, where the config says so."""
        ...

    def first_alike(self, config: PreTrainedConfig, index: int) -> int:
        """Return the first layer that is called with the same masks and positions as layer ``index``."""
        ...

    def window(self, config: PreTrainedConfig) -> int | None:
        """Return how many tokens to either side some layers of an encoder see; None where all see everything."""
        ...

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """Return the modules between the last layer and the logits."""
        ...

    def head_anatomy(self, config: PreTrainedConfig) -> Head:
        """Return the sizes of the head that the config describes."""
        ...

    def anatomy(self, config: PreTrainedConfig) -> Anatomy:
        """Return what every layer has."""
        ...

    def hidden_size(self, config: PreTrainedConfig) -> int:
        """Return the width of the residual stream."""
        ...

    def write_hidden_size_(self, config: PreTrainedConfig, hidden_size: int) -> None:
        """Record another width of the residual stream; features per head stay as they were."""
        ...

    def max_tokens(self, config: PreTrainedConfig) -> int:
        """Return how many tokens a row can have, special ones included."""
        ...

    def dense_widths(self, config: PreTrainedConfig) -> Widths:
        """Return the widths before any cut."""
        ...

    def widths(self, config: PreTrainedConfig) -> Widths:
        """Return the widths that the config promises now."""
        ...

    def is_dense(self, config: PreTrainedConfig) -> bool:
        """Say whether heads, neurons and features per head are those that the architecture started with."""
        ...

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """Record the widths, in ``per_layer_config`` where they differ from the global ones; dense ones remove it."""
        ...

    def buildable(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """Return a copy that plain transformers can build a model from; it may have other widths."""
        ...

    def uniform_config(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """Return a copy that plain transformers understands: so many heads and neurons in every layer.

        Features per head are ``hidden size / heads`` where the architecture knows no ``head_dim``.
        """
        ...

    def padded_heads(self, config: PreTrainedConfig, *, at_least: int) -> tuple[int, int]:
        """Return number and features of heads that plain transformers accepts in every layer.

        Raises:
            ModelError: there are none for this hidden size.
        """
        ...

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """Copy dense widths, features per head and ``per_layer_config`` of another config of this family."""
        ...

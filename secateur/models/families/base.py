"""What a model family answers. Hugging Face attribute names live in its files and nowhere else."""

from collections.abc import Sequence
from typing import Protocol

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.models.structures import Attention, Ffn, Layer, Widths


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

    def layers(self, model: PreTrainedModel) -> tuple[Layer, ...]:
        """Return the layers in forward order; the modules are the model's own."""
        ...

    def replace_attention_(self, model: PreTrainedModel, index: int, attention: Attention) -> None:
        """Put other projections into layer ``index`` and update the attributes that go with them.

        No heads are allowed: such a block adds the bias of its output projection and attends to nothing.
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

        Raises:
            ModelError: the padding token goes, or moves where positions are counted from it.
        """
        ...

    def embeddings(self, model: PreTrainedModel) -> nn.Module:
        """Return the module that holds every embedding, with its norm."""
        ...

    def head(self, model: PreTrainedModel) -> tuple[nn.Module, ...]:
        """Return the modules between the last layer and the logits."""
        ...

    def head_sizes(self, config: PreTrainedConfig) -> tuple[tuple[int, int], ...]:
        """Return ``(in, out)`` of every linear of the head; each sees one token per row."""
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

    def write_widths_(self, config: PreTrainedConfig, widths: Widths) -> None:
        """Record the widths in ``per_layer_config``; dense widths remove it."""
        ...

    def uniform_config(self, config: PreTrainedConfig, *, heads: int, ffn: int) -> PreTrainedConfig:
        """Return a copy that plain transformers understands: so many heads and neurons in every layer.

        Features per head are ``hidden size / heads``.
        """
        ...

    def take_widths_(self, config: PreTrainedConfig, source: PreTrainedConfig) -> None:
        """Copy dense widths, features per head and ``per_layer_config`` of another config of this family."""
        ...

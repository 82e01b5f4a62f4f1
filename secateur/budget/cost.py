"""What a model costs: parameters, multiply-accumulates, bytes. Analytic, from the widths alone.

MACs count matrix products, attention scores included, for one row of ``length`` tokens; element-wise work
(norms, activations, softmax) is left out, as ``torch.utils.flop_counter`` does (FLOPs = 2 x MACs).
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.families import family_of
from secateur.families.structures import Anatomy, Head, Widths
from secateur.models.construction import tied_names


class Amount(NamedTuple):
    """What one structure takes."""

    macs: int
    params: int


@dataclass(frozen=True)
class Cost:
    """What a whole model takes.

    Attributes:
        params: all parameters; a matrix that is tied counts once.
        nonembedding_params: parameters outside the embeddings (and the norm that belongs to them). A head that is
            tied to them is among them.
        macs: of the layers and the head, for one row; a language model's head sees every token of it.
        bytes: of all parameters and persistent buffers in memory.
    """

    params: int
    nonembedding_params: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class StructureCosts:
    """Prices for an allocator: the layers cost ``fixed + sum heads * head + sum neurons * neuron``.

    Attributes:
        head: one attention head (with grouped queries: a key-value group), in any layer of a model with this
            hidden size.
        neuron: one feed-forward neuron, likewise.
        fixed: what stays in these layers when every block is gone: biases of the output projections, norms, and
            the parameters of the head; and the linear behind embeddings that are narrower than the layers.
            Its MACs are those of that linear, because the MACs of the layers exclude the head.
        head_weights: matrix entries of one attention head, biases left out.
        neuron_weights: of one neuron.
    """

    head: Amount
    neuron: Amount
    fixed: Amount
    head_weights: int
    neuron_weights: int

    def total(self, widths: Widths) -> Amount:
        """Return the layers' MACs and the parameters outside the embeddings at these widths."""
        heads, neurons = sum(widths.heads), sum(widths.ffn)
        return Amount(
            macs=self.fixed.macs + heads * self.head.macs + neurons * self.neuron.macs,
            params=self.fixed.params + heads * self.head.params + neurons * self.neuron.params,
        )


def structure_costs(model: PreTrainedModel | PreTrainedConfig, *, length: int) -> StructureCosts:
    """Return the price of every structure.

    A config is enough, so a budget can be checked before any weight is read.

    Args:
        model: a model, or its config (with the ``num_labels`` it will have).
        length: tokens per row.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    family = family_of(config)
    hidden, dense, parts = family.hidden_size(config), family.dense_widths(config), family.anatomy(config)
    dim = dense.head_dim
    head_weights, head_biases, scores = _attention(parts, hidden=hidden, dim=dim)
    # Queries and keys of positions, the same for all rows of a batch, and the products of tokens with them.
    of_positions = 2 * parts.positions * dim * (hidden + length)
    neuron_weights = (parts.num_ups + 1) * hidden
    layer_params = hidden * (parts.output_bias + parts.down_bias) + parts.norm_params
    entrance = hidden * (family.entrance_size(config) or 0)
    around = family.head_anatomy(config).params + entrance + hidden * (entrance > 0)
    return StructureCosts(
        head=Amount(
            macs=length * head_weights + length * length * scores + of_positions, params=head_weights + head_biases
        ),
        neuron=Amount(macs=length * neuron_weights, params=neuron_weights + parts.num_ups * parts.up_bias),
        fixed=Amount(macs=length * entrance, params=dense.num_layers * layer_params + around),
        head_weights=head_weights,
        neuron_weights=neuron_weights,
    )


def _attention(parts: Anatomy, *, hidden: int, dim: int) -> tuple[int, int, int]:
    """Return weights and biases of one head, and the MACs of its scores and sums per pair of tokens."""
    queries = parts.queries_per_head
    # Queries and output columns, key and value.
    weights = 2 * queries * dim * hidden + 2 * dim * hidden
    return weights, (queries + 2) * dim * parts.query_bias, 2 * queries * dim


def amount_of(model: PreTrainedModel | PreTrainedConfig, *, length: int) -> Amount:
    """Return MACs of the layers and parameters outside the embeddings, at the current widths, depth and hidden size.

    The amount of a model over that of the dense one's config is its fraction of dense, whatever was cut.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    return structure_costs(config, length=length).total(family_of(config).widths(config))


def encoder_macs(model: PreTrainedModel | PreTrainedConfig, length: int) -> int:
    """Return the MACs of the layers at their current widths, for one row of ``length`` tokens."""
    return amount_of(model, length=length).macs


def nonembedding_params(model: PreTrainedModel) -> int:
    """Count the parameters outside the embeddings."""
    return _count(model) - sum(map(_count, family_of(model).embedding_modules(model)))


def cost_of(model: PreTrainedModel, *, length: int = 32) -> Cost:
    """Measure a model's size and count its work.

    Args:
        model: a classifier or causal language model of a supported family.
        length: tokens per row.
    """
    head = family_of(model).head_anatomy(model.config)
    tied = tied_names(model)
    tensors = (tensor for name, tensor in model.state_dict().items() if name not in tied)
    return Cost(
        params=_count(model),
        nonembedding_params=nonembedding_params(model),
        macs=encoder_macs(model, length) + _macs_per_token(head) * (length if head.every_token else 1),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )


def _macs_per_token(head: Head) -> int:
    return sum(inputs * outputs for inputs, outputs in head.sizes)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""What a model costs: parameters, multiply-accumulates, bytes. Analytic, from the widths alone.

MACs count matrix products, attention scores included, for one row of ``length`` tokens; element-wise work
(norms, activations, softmax) is left out, as ``torch.utils.flop_counter`` does (FLOPs = 2 x MACs).
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.models.families import family_of
from secateur.models.structures import Widths


class Amount(NamedTuple):
    """What one structure takes."""

    macs: int
    params: int


@dataclass(frozen=True)
class Cost:
    """What a whole model takes.

    Attributes:
        params: all parameters.
        nonembedding_params: parameters outside the embeddings (and the norm that belongs to them).
        macs: of the encoder and the head, for one row.
        bytes: of all parameters and persistent buffers in memory.
    """

    params: int
    nonembedding_params: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class StructureCosts:
    """Prices for an allocator: the encoder costs ``fixed + sum heads * head + sum neurons * neuron``.

    Attributes:
        head: one attention head, in any layer of a model with this hidden size.
        neuron: one feed-forward neuron, likewise.
        fixed: what stays in these layers when every block is gone: biases of the output projections, norms, and
            the parameters of the head.
            Its MACs are 0, because encoder MACs exclude the head.
    """

    head: Amount
    neuron: Amount
    fixed: Amount

    def total(self, widths: Widths) -> Amount:
        """Return encoder MACs and parameters outside the embeddings at these widths."""
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
    hidden = family.hidden_size(config)
    widths = family.dense_widths(config)
    dim = widths.head_dim
    # Per layer: the biases of the two output projections, and two norms of a gain and a bias each.
    layer_params = 2 * hidden + 4 * hidden
    head_params = sum(inputs * outputs + outputs for inputs, outputs in family.head_sizes(config))
    return StructureCosts(
        head=Amount(macs=4 * length * hidden * dim + 2 * length * length * dim, params=4 * hidden * dim + 3 * dim),
        neuron=Amount(macs=2 * length * hidden, params=2 * hidden + 1),
        fixed=Amount(macs=0, params=widths.num_layers * layer_params + head_params),
    )


def head_cost(model: PreTrainedModel | PreTrainedConfig, length: int) -> Amount:
    """Return ``(macs, params)`` of one attention head."""
    return structure_costs(model, length=length).head


def neuron_cost(model: PreTrainedModel | PreTrainedConfig, length: int) -> Amount:
    """Return ``(macs, params)`` of one feed-forward neuron."""
    return structure_costs(model, length=length).neuron


def amount_of(model: PreTrainedModel | PreTrainedConfig, *, length: int) -> Amount:
    """Return encoder MACs and parameters outside the embeddings, at the current widths, depth and hidden size.

    The amount of a model over that of the dense one's config is its fraction of dense, whatever was cut.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    return structure_costs(config, length=length).total(family_of(config).widths(config))


def encoder_macs(model: PreTrainedModel | PreTrainedConfig, length: int) -> int:
    """Return the MACs of the layers at their current widths, for one row of ``length`` tokens."""
    return amount_of(model, length=length).macs


def nonembedding_params(model: PreTrainedModel) -> int:
    """Count the parameters outside the embeddings."""
    return _count(model) - _count(family_of(model).embeddings(model))


def cost_of(model: PreTrainedModel, *, length: int = 32) -> Cost:
    """Measure a model's size and count its work.

    Args:
        model: a classifier of a supported family.
        length: tokens per row.
    """
    family = family_of(model)
    head_macs = sum(inputs * outputs for inputs, outputs in family.head_sizes(model.config))
    return Cost(
        params=_count(model),
        nonembedding_params=nonembedding_params(model),
        macs=encoder_macs(model, length) + head_macs,
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""Regularisers as steps on the weights: what an optimiser step has moved is drawn towards zero afterwards.

All of them act on the weights themselves, after the optimiser, with the learning rate of that step: none adds a
gradient, so the optimiser's moments stay those of the loss, and zeros are exact (Parikh and Boyd 2014, section 4.2,
proximal gradient). Differs from the theory in the metric: AdamW scales its steps by coordinate, the proximal step does
not. AdamW moves a weight by about the learning rate, so a strength of 1 holds a weight against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never, final

import torch
from torch import Tensor
from torch.nn.functional import softshrink
from transformers import PreTrainedModel

from secateur.config.prune import Regularization, Regularizer
from secateur.models.families import family_of
from secateur.models.groups import Groups, with_masks
from secateur.models.structures import Masks
from secateur.models.surgery import widths_of
from secateur.training.loop import Constraint


def regularizer_for(
    model: PreTrainedModel, *, kind: Regularizer, settings: Regularization, chosen: Masks | None
) -> Constraint | None:
    """Return what acts after every optimiser step of a training before a cut, or None for ``none``.

    Built on the model's own parameters: a model that is cut afterwards needs a new one.

    Args:
        model: its layers are regularised; embeddings and head are not.
        kind: which step.
        settings: ``strength`` (lambda), ``growth`` and the peak ``learning_rate``.
        chosen: l2 only: the units whose mask is False are chosen for removal and decay, the others are left alone;
            None lets all of them decay alike. The other kinds find out by themselves what is unimportant.
    """
    if kind == "none":
        return None
    everything = Masks.ones(widths_of(model))
    if kind == "l1":
        matrices = [linear.weight for layer in family_of(model).layers(model) for linear in layer.linears()]
        return SoftThreshold(tuple(matrices), strength=settings.strength)
    if kind == "group_lasso":
        groups = tuple(of_layer for of_layer, _ in with_masks(model, everything))
        return GroupThreshold(groups, strength=settings.strength)
    if kind == "l2":
        masks = chosen if chosen is not None else _inverted(everything)
        return GrowingDecay(tuple(with_masks(model, masks)), strength=settings.strength, growth=settings.growth)
    assert_never(kind)


@final
@dataclass(frozen=True)
class SoftThreshold:
    """L1: ``w <- sign(w) * max(|w| - eta * lambda, 0)`` on every entry (Tibshirani 1996, equation 3).

    Attributes:
        matrices: changed in place; biases and norms are left alone.
        strength: lambda, per unit of learning rate.
    """

    matrices: tuple[Tensor, ...]
    strength: float

    @torch.no_grad()
    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Take ``learning_rate * strength`` off the size of every entry."""
        for matrix in self.matrices:
            matrix.copy_(softshrink(matrix, learning_rate * self.strength))


@final
@dataclass(frozen=True)
class GroupThreshold:
    """Group lasso: ``w_g <- w_g * max(0, 1 - eta * lambda * sqrt|g| / ||w_g||)`` (Yuan and Lin 2006, equation 2.4).

    Attributes:
        groups: coupled groups with their biases; a unit goes to zero as a whole or not at all.
        strength: lambda, per unit of learning rate.
    """

    groups: tuple[Groups, ...]
    strength: float

    @torch.no_grad()
    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Take ``learning_rate * strength * sqrt|g|`` off the norm of every group."""
        for groups in self.groups:
            norms = groups.sums(Tensor.square).sqrt()
            shrunk = (norms - learning_rate * self.strength * groups.num_parameters**0.5).clamp_min(0.0)
            groups.scale_(shrunk / norms.clamp_min(torch.finfo(norms.dtype).tiny))


@final
@dataclass(frozen=True)
class GrowingDecay:
    """L2: ``z <- z_reg - x * z_reg`` on the units chosen for removal, with a rate x that grows over the training.

    ``x = eta * lambda * (1 + (growth - 1) * progress)``. The decay is multiplicative, so it never gives a zero; it
    drives what will be cut towards zero slowly enough that the rest of the network takes over (Wang et al. 2021,
    "Neural pruning via growing regularization", GReg-1, equation 2). Differs from the paper in that the decay is
    decoupled from the gradient, as in AdamW, and that the penalty grows linearly over a given number of steps
    instead of up to a ceiling.

    Attributes:
        chosen: groups and their masks, (U,) bool; False = decays.
        strength: lambda before the first step, per unit of learning rate.
        growth: factor on the strength at the last step.
    """

    chosen: Sequence[tuple[Groups, Tensor]]
    strength: float
    growth: float

    @torch.no_grad()
    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Shrink the chosen units; the others keep their bits."""
        rate = learning_rate * self.strength * (1.0 + (self.growth - 1.0) * progress)
        for groups, mask in self.chosen:
            groups.scale_(torch.where(mask, 1.0, 1.0 - rate))


def _inverted(masks: Masks) -> Masks:
    return Masks(heads=tuple(~mask for mask in masks.heads), ffn=tuple(~mask for mask in masks.ffn))

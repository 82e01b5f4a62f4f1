"""``l2``: what will go decays, faster and faster, so that the rest takes over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, final

from pydantic import Field

from secateur.config.base import Section
from secateur.pruning.regularizer import OnChosen, Regularizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.config.prune import Regularization
    from secateur.families.structures import Masks
    from secateur.models.groups import Groups
    from secateur.pruning.weights.matrices import WeightMasks


class DecaySettings(Section):
    """How the decay grows."""

    growth: Annotated[
        float,
        Field(
            ge=1.0,
            description="factor on the strength from first to last step",
            json_schema_extra={"formerly": "regularization.growth"},
        ),
    ] = 10.0


@dataclass(frozen=True)
class _Decay:
    """``z <- z_reg - x * z_reg`` on what is chosen for removal, with a rate x that grows over the training.

    ``x = eta * lambda * (1 + (growth - 1) * progress)``. The decay is multiplicative, so it never gives a zero; it
    drives what will be cut towards zero slowly enough that the rest of the network takes over (Wang et al. 2021,
    "Neural pruning via growing regularization", GReg-1, equation 2). Differs from the paper in that the decay is
    decoupled from the gradient, as in AdamW, and that the penalty grows linearly over a given number of steps
    instead of up to a ceiling.

    Attributes:
        strength: lambda before the first step, per unit of learning rate.
        growth: factor on the strength at the last step.
    """

    strength: float
    growth: float

    def _rate(self, learning_rate: float, progress: float) -> float:
        return learning_rate * self.strength * (1.0 + (self.growth - 1.0) * progress)


@final
@dataclass(frozen=True)
class GrowingDecay(_Decay):
    """On structures.

    Attributes:
        chosen: groups and their masks, (U,) bool; False = decays.
    """

    chosen: "Sequence[tuple[Groups, Tensor]]"

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Shrink the chosen units; the others keep their bits."""
        import torch

        rate = self._rate(learning_rate, progress)
        with torch.no_grad():
            for groups, mask in self.chosen:
                groups.scale_(torch.where(mask, 1.0, 1.0 - rate))


@final
@dataclass(frozen=True)
class GrowingWeightDecay(_Decay):
    """On single weights.

    Attributes:
        chosen: matrices and their masks, (out, in) bool; False = decays.
    """

    chosen: "Sequence[tuple[Tensor, Tensor]]"

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Shrink what will go; the others keep their bits."""
        import torch

        rate = self._rate(learning_rate, progress)
        with torch.no_grad():
            for weight, kept in self.chosen:
                weight.copy_(torch.where(kept, weight, weight * (1.0 - rate)))


def on_structures(
    model: "PreTrainedModel", *, training: "Regularization", settings: DecaySettings, chosen: "Masks"
) -> GrowingDecay:
    """Take hold of the heads and neurons that will go."""
    from secateur.models.groups import with_masks

    return GrowingDecay(training.strength, settings.growth, tuple(with_masks(model, chosen)))


def on_weights(
    model: "PreTrainedModel", *, training: "Regularization", settings: DecaySettings, chosen: "WeightMasks"
) -> GrowingWeightDecay:
    """Take hold of the projections.

    Raises:
        ModelError: the masks are of another model.
    """
    from secateur.pruning.weights.matrices import check_fits, prunable

    check_fits(chosen, model)
    held = [(linear.weight, chosen.matrices[name].to(linear.weight.device)) for name, linear in prunable(model).items()]
    return GrowingWeightDecay(training.strength, settings.growth, held)


def problem(training: "Regularization", settings: DecaySettings) -> str | None:
    """Say what the last step would make of weights, where it would turn their sign."""
    largest = training.learning_rate * training.strength * settings.growth
    if largest < 1.0:
        return None
    return (
        "regularization: l2 multiplies weights by 1 - learning_rate * strength * growth = "
        f"{1.0 - largest:g} in its last step, which turns their sign; a strength below "
        f"{1.0 / (training.learning_rate * settings.growth):g} would work"
    )


L2 = Regularizer(
    name="l2",
    summary="what will go decays, faster and faster",
    source="Wang et al. 2021 (growing regularisation), GReg-1, equation 2",
    settings=DecaySettings,
    on_chosen=OnChosen(on_structures, on_weights),
    problem=problem,
)

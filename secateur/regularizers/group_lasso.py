"""``group_lasso``: a threshold on the norm of all that leaves together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from secateur.pruning.criterion import NoSettings
from secateur.pruning.regularizer import Regularizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.config.prune import Regularization
    from secateur.models.groups import Groups


@final
@dataclass(frozen=True)
class GroupThreshold:
    """Group lasso: ``w_g <- w_g * max(0, 1 - eta * lambda * sqrt|g| / ||w_g||)`` (Yuan and Lin 2006, equation 2.4).

    Attributes:
        groups: coupled groups with their biases; a unit goes to zero as a whole or not at all.
        strength: lambda, per unit of learning rate.
    """

    groups: "tuple[Groups, ...]"
    strength: float

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Take ``learning_rate * strength * sqrt|g|`` off the norm of every group."""
        import torch

        with torch.no_grad():
            for groups in self.groups:
                norms = groups.sums(torch.Tensor.square).sqrt()
                shrunk = (norms - learning_rate * self.strength * groups.num_parameters**0.5).clamp_min(0.0)
                groups.scale_(shrunk / norms.clamp_min(torch.finfo(norms.dtype).tiny))


def on_all(model: "PreTrainedModel", *, training: "Regularization", settings: NoSettings) -> GroupThreshold:
    """Take hold of every head and every neuron."""
    from secateur.families.structures import Masks
    from secateur.models.groups import with_masks
    from secateur.models.surgery import widths_of

    groups = tuple(of_layer for of_layer, _ in with_masks(model, Masks.ones(widths_of(model))))
    return GroupThreshold(groups, strength=training.strength)


GROUP_LASSO = Regularizer(
    name="group_lasso",
    summary="a threshold on the norm of a head or a neuron, which goes as a whole",
    source="Yuan and Lin 2006, equation 2.4",
    settings=NoSettings,
    on_all=on_all,
)

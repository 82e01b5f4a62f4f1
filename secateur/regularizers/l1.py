"""``l1``: a soft threshold on every entry."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from secateur.pruning.criterion import NoSettings
from secateur.pruning.regularizer import Regularizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.config.prune import Regularization


@final
@dataclass(frozen=True)
class SoftThreshold:
    """L1: ``w <- sign(w) * max(|w| - eta * lambda, 0)`` on every entry (Tibshirani 1996, equation 3).

    Attributes:
        matrices: changed in place; biases and norms are left alone.
        strength: lambda, per unit of learning rate.
    """

    matrices: "tuple[Tensor, ...]"
    strength: float

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Take ``learning_rate * strength`` off the size of every entry."""
        import torch
        from torch.nn.functional import softshrink

        with torch.no_grad():
            for matrix in self.matrices:
                matrix.copy_(softshrink(matrix, learning_rate * self.strength))


def on_all(model: "PreTrainedModel", *, training: "Regularization", settings: NoSettings) -> SoftThreshold:
    """Take hold of every matrix of the layers."""
    from secateur.families import family_of

    matrices = [linear.weight for layer in family_of(model).layers(model) for linear in layer.linears()]
    return SoftThreshold(tuple(matrices), strength=training.strength)


L1 = Regularizer(
    name="l1",
    summary="a soft threshold takes the same off every weight",
    source="Tibshirani 1996, equation 3",
    settings=NoSettings,
    on_all=on_all,
)

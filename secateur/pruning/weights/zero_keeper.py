"""What keeps removed weights at zero while the others are trained."""

from typing import final

import torch
from transformers import PreTrainedModel

from secateur.pruning.weights.matrices import WeightMasks, check_fits, prunable


@final
class ZeroKeeper:
    """A constraint of the training loop: after every step, what was removed is exactly zero again.

    Momentum and weight decay move a weight whose gradient is masked, so the weight itself is set. Held is what is
    zero and not kept when the keeper is built. A kept zero is free, which is how a regrown weight is trained; so is
    a suppressed weight, which is not zero.
    """

    def __init__(self, model: PreTrainedModel, masks: WeightMasks) -> None:
        """Take hold of the model's parameters, on the device where they will be trained.

        Raises:
            ModelError: the masks are of another model.
        """
        check_fits(masks, model)
        self._held = [
            (linear.weight, ~masks.matrices[name].to(linear.weight.device) & (linear.weight.detach() == 0))
            for name, linear in prunable(model).items()
        ]

    @torch.no_grad()
    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Set the removed weights to zero; rate and progress are not used."""
        for weight, removed in self._held:
            weight.masked_fill_(removed, 0.0)

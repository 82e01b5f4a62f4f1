"""``l2`` on single weights: what will go decays first, so that the others take over."""

from typing import final

import torch
from transformers import PreTrainedModel

from secateur.config.prune import Regularization
from secateur.pruning.weights.matrices import WeightMasks, check_fits, prunable


@final
class GrowingWeightDecay:
    """A constraint of the training loop: ``w <- w * (1 - eta * lambda * (1 + (growth - 1) * progress))``.

    Acts on the weights that the masks do not keep; the others keep their bits. The unstructured form of growing
    regularisation (Wang et al. 2021, GReg-1, equation 2), decoupled from the gradient as in AdamW. The l1 step on
    single weights is ``secateur.training.regularizers.SoftThreshold``, which needs no masks.
    """

    def __init__(self, model: PreTrainedModel, masks: WeightMasks, *, settings: Regularization) -> None:
        """Take hold of the model's parameters.

        Args:
            model: its projections are changed by every step.
            masks: ``application.choose_weights`` for the round to come; False = decays.
            settings: ``strength`` (lambda), ``growth`` and the peak ``learning_rate``.

        Raises:
            ModelError: the masks are of another model.
        """
        check_fits(masks, model)
        self._settings = settings
        self._held = [
            (linear.weight, masks.matrices[name].to(linear.weight.device)) for name, linear in prunable(model).items()
        ]

    @torch.no_grad()
    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        """Shrink what will go."""
        rate = learning_rate * self._settings.strength * (1.0 + (self._settings.growth - 1.0) * progress)
        for weight, kept in self._held:
            weight.copy_(torch.where(kept, weight, weight * (1.0 - rate)))

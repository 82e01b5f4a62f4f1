"""The optimiser, and what it may be fed: finite weights, finite gradients."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from transformers import PreTrainedModel

from secateur.config.training import TrainingSection
from secateur.errors import ModelError
from secateur.families import family_of

_BETAS = (0.9, 0.999)
_SHORT_BETAS = (0.9, 0.98)
"""Of what Muon leaves to AdamW: a model that starts from nothing changes faster than 1 000 steps can remember."""


Map = Callable[[Callable[[Optimizer], None], Sequence[Optimizer]], Iterable[None]]
"""Calls a function for every item, perhaps several at once, as ``map`` does."""


def optimizer_for(
    model: PreTrainedModel, *, settings: TrainingSection, num_parts: int = 1, parallel_map: Map = map
) -> Optimizer:
    """Build the optimiser; biases and norms are not decayed.

    Args:
        model: its parameters that want a gradient are trained.
        settings: which optimiser, its rate and its decay.
        num_parts: parts of Muon that can step at the same time. Its products are as small as the matrices are: 28 of
            2.4 M parameters take 54 ms of one thread, and 85 ms when two threads share every product.
        parallel_map: runs the parts.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adamw":
        return _adamw(trainable, settings=settings, betas=_BETAS)
    family = family_of(model)
    ends = (*family.embedding_modules(model), *family.head(model))
    apart = {id(parameter) for module in ends for parameter in module.parameters()}
    matrices = [parameter for parameter in trainable if parameter.dim() == 2 and id(parameter) not in apart]
    others = [parameter for parameter in trainable if parameter.dim() != 2 or id(parameter) in apart]
    # Updates as large as AdamW's let both share one rate and one decay.
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    parts = (matrices[first::num_parts] for first in range(num_parts))
    muon = [Muon(part, adjust_lr_fn="match_rms_adamw", **options) for part in parts if part]
    return _Together(*muon, _adamw(others, settings=settings, betas=_SHORT_BETAS), parallel_map=parallel_map)


def _adamw(parameters: Sequence[nn.Parameter], *, settings: TrainingSection, betas: tuple[float, float]) -> AdamW:
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # One fused kernel instead of one per tensor and operation.
    return AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)


class _Together(Optimizer):
    """Optimisers that share a rate: Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for the rest.

    Liu et al. 2025 (section 2.2) scale Muon's updates to the size of AdamW's.
    """

    def __init__(self, *parts: Optimizer, parallel_map: Map) -> None:
        self._parts = parts
        self._map = parallel_map
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{"params": group["params"], "lr": group["lr"]} for group in groups], defaults={})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step of each at the rate that stands in the groups."""
        groups = [group for part in self._parts for group in part.param_groups]
        for own, group in zip(groups, self.param_groups, strict=True):
            own["lr"] = group["lr"]
        for _ in self._map(lambda part: part.step(), self._parts):
            pass


def check_weights(model: nn.Module, *, title: str) -> None:
    """Refuse a model that holds NaN or infinity.

    Raises:
        ModelError: names the first parameter that does, and how many do.
    """
    broken = _not_finite(model, lambda parameter: parameter.detach())
    if broken:
        raise ModelError(
            f"{title}: {_named(broken)} NaN or infinite weights before the first step; "
            f"a checkpoint without them would work"
        )


def clip_(model: nn.Module, *, loss: Tensor, settings: TrainingSection, where: str) -> None:
    """Scale the gradients down to ``max_grad_norm``, in place, once their norm is known to be finite.

    Raises:
        ModelError: names the loss, or the first parameter whose gradient is NaN or infinite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
    # Looked at before clipping, which would spread one NaN over all gradients.
    if not bool(torch.isfinite(norm)):
        broken = _not_finite(model, lambda parameter: parameter.grad)
        if not bool(torch.isfinite(loss)) or not broken:
            what = f"the loss is {float(loss)}, the norm of its gradients {float(norm)}"
        else:
            what = f"{_named(broken)} NaN or infinite gradients"
        raise ModelError(f"{where}: {what}; a learning_rate below {settings.learning_rate:g} would work")
    torch.nn.utils.clip_grads_with_norm_(trained, settings.max_grad_norm, norm)


def _not_finite(model: nn.Module, tensor_of: Callable[[nn.Parameter], Tensor | None]) -> list[str]:
    found = ((name, tensor_of(parameter)) for name, parameter in model.named_parameters())
    return [name for name, tensor in found if tensor is not None and not bool(torch.isfinite(tensor).all())]


def _named(broken: list[str]) -> str:
    others = f" and {len(broken) - 1} more parameters hold" if len(broken) > 1 else " holds"
    return f"{broken[0]}{others}"

"""The optimiser, and what it may be fed: finite weights, finite gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from secateur.config.baseline import TrainingSection
from secateur.errors import ModelError


def adamw(model: nn.Module, *, settings: TrainingSection) -> torch.optim.AdamW:
    """Build the optimiser; biases and norms are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # One fused kernel instead of one per tensor and operation.
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


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

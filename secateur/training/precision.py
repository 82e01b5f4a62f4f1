"""Which arithmetic a stage uses."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from secateur.config.run import Precision
from secateur.determinism import supports_bf16


def resolve(precision: Precision) -> Literal["fp32", "bf16"]:
    """Replace ``auto`` by what runs in hardware here."""
    if precision == "auto":
        return "bf16" if supports_bf16() else "fp32"
    return precision


def autocast(precision: Precision, *, device: torch.device) -> AbstractContextManager[Any]:
    """Run matrix products in bf16 while weights stay in fp32, or do nothing for fp32.

    Not ``Accelerator(mixed_precision=...)``: that is a process-wide singleton which refuses a second value,
    and it patches the forward of the model that is to be cut and saved.
    """
    if resolve(precision) == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)

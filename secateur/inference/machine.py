"""What a measured time depends on besides the model."""

import os
import platform

import onnxruntime
import torch

from secateur.determinism import cpu_fact


def describe_machine() -> dict[str, str | int]:
    """Return the CPU's name, its cores, and the versions of the runtimes."""
    return {
        # platform.processor() is empty on most Linux systems.
        "cpu": cpu_fact("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }

"""What a measured time depends on besides the model."""

import os
import platform
from pathlib import Path

import onnxruntime
import torch


def describe_machine() -> dict[str, str | int]:
    """Return the CPU's name, its cores, and the versions of the runtimes."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _cpu_name() -> str:
    # platform.processor() is empty on most Linux systems.
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

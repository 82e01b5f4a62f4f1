"""Where models compute: chosen here and nowhere else, then carried by the model."""

import torch
from torch import Tensor

from secateur.config.run import Device, RunSection
from secateur.determinism import fix_randomness
from secateur.errors import ConfigError

_ACCELERATORS = ("cuda", "mps")


def find_device(asked: Device, *, said: str = "run.device") -> torch.device:
    """Return the device that was asked for, if this machine has it.

    A model is moved there once; rows, calibration and regularisers follow ``model.device``. What is written, exported
    or timed comes from the CPU.

    Args:
        asked: ``auto`` takes the first of cuda and mps that is there, else the CPU.
        said: name of the setting, for the message.

    Raises:
        ConfigError: this machine, or this build of torch, has no such device.
    """
    there = [name for name in _ACCELERATORS if _has(name)]
    if asked == "auto":
        return torch.device(there[0] if there else "cpu")
    if asked == "cpu" or asked in there:
        return torch.device(asked)
    why = "" if getattr(torch.backends, asked).is_built() else f" (torch {torch.__version__} is built without {asked})"
    raise ConfigError(
        f"{said}={asked}: found no such device here{why}; {', '.join([*there, 'cpu'])} or auto would work"
    )


def check_processes(device: torch.device, *, count: int) -> None:
    """Refuse more processes than a machine has accelerators: each needs one of its own.

    Raises:
        ConfigError: there are fewer.
    """
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type != "cpu" and count > there:
        raise ConfigError(
            f"run.processes={count}: every process needs a device of its own, found {there} of {device.type}; "
            f"run.processes={there} or run.device=cpu would work"
        )


def enter(run: RunSection) -> torch.device:
    """Fix what decides the bits of a stage, for the whole process, and return where its models compute.

    Call it once, at the entry of a stage.

    Raises:
        ConfigError: as ``find_device``.
    """
    device = find_device(run.device)
    fix_randomness(seed=run.seed, num_threads=run.num_threads, device=device)
    return device


def for_sums(device: torch.device) -> torch.device:
    """Return where sums in float64 over what is computed on a device are kept: there, or on the CPU beside MPS.

    That has no such type.
    """
    return torch.device("cpu") if device.type == "mps" else device


def wide(values: Tensor) -> Tensor:
    """Return values in float64, where sums over them are kept."""
    return values.to(for_sums(values.device)).double()


def _has(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available()

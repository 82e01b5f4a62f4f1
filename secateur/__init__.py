"""Prune language models inside a workflow that can be scheduled, reproduced and trusted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.api.checkpoints import bench, export, latency_table, load, save
    from secateur.api.pruning import Figures, Pruned, prune
    from secateur.errors import (
        BudgetError,
        CheckFailed,
        CheckpointError,
        ConfigError,
        DataError,
        MeasurementError,
        ModelError,
        NotJudged,
        ProjectError,
        SecateurError,
    )
    from secateur.evaluation.latency import LatencyResult
    from secateur.evaluation.latency_table import LatencyTable

__all__ = [
    "BudgetError",
    "CheckFailed",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Figures",
    "LatencyResult",
    "LatencyTable",
    "MeasurementError",
    "ModelError",
    "NotJudged",
    "ProjectError",
    "Pruned",
    "SecateurError",
    "__version__",
    "bench",
    "export",
    "latency_table",
    "load",
    "prune",
    "save",
]

_HOMES = {
    "secateur.api.checkpoints": ("bench", "export", "latency_table", "load", "save"),
    "secateur.api.pruning": ("Figures", "Pruned", "prune"),
    "secateur.evaluation.latency": ("LatencyResult",),
    "secateur.evaluation.latency_table": ("LatencyTable",),
}


def __getattr__(name: str) -> Any:
    # torch and transformers are imported when somebody asks for what needs them. Modules by name: this file is part of
    # every stage's code, and what it imports would be, too.
    if name == "__version__":
        # Not a number here: another version is no other code.
        from importlib.metadata import version

        return version("secateur")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "secateur.errors")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

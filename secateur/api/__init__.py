"""What Python programs call. ``__all__`` is all that is promised; ``secateur`` shows the same names."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.api.checkpoints import export, load, save, sentence_transformer
    from secateur.api.from_pretrained import in_transformers
    from secateur.api.pruning import prune
    from secateur.api.result import Figures, Pruned
    from secateur.api.timing import bench, latency_table
    from secateur.budget.latency_table import LatencyTable
    from secateur.errors import (
        BudgetError,
        CheckFailed,
        CheckpointError,
        ConfigError,
        DataError,
        MeasurementError,
        ModelError,
        NotJudged,
        NotRegistered,
        Occupied,
        ProjectError,
        SecateurError,
    )
    from secateur.inference.latency import LatencyResult

    __version__: str

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
    "NotRegistered",
    "Occupied",
    "ProjectError",
    "Pruned",
    "SecateurError",
    "__version__",
    "bench",
    "export",
    "in_transformers",
    "latency_table",
    "load",
    "prune",
    "save",
    "sentence_transformer",
]

_HOMES = {
    "secateur": ("__version__",),
    "secateur.api.checkpoints": ("export", "load", "save", "sentence_transformer"),
    "secateur.api.from_pretrained": ("in_transformers",),
    "secateur.api.pruning": ("prune",),
    "secateur.api.result": ("Figures", "Pruned"),
    "secateur.api.timing": ("bench", "latency_table"),
    "secateur.inference.latency": ("LatencyResult",),
    "secateur.budget.latency_table": ("LatencyTable",),
}
"""Where the names are defined; the others are errors."""


def __getattr__(name: str) -> Any:
    """Import what somebody asks for when it is asked for: torch and transformers take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "secateur.errors")
    return getattr(import_module(home), name)

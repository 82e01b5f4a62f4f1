"""Settings of the ``prune`` section for single weights."""

from typing import Any

from secateur.config.prune import PruneSettings
from tests.unit.pruning.prune_settings import prune_settings


def weight_settings(criterion: str = "magnitude", **changes: Any) -> PruneSettings:
    """Return the shipped settings for single weights, with some of them changed."""
    shown = {"criterion": criterion, "granularity": "weights", "budget": {"sparsity": 0.5}, "repair": "none"}
    return prune_settings(**{**shown, **changes})

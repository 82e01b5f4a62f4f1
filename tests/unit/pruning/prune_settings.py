"""The shipped ``prune`` section without its rounds, for tests of what reads one."""

from typing import Any

from secateur.config.prune import PruneSettings
from tests.tiny import full_params


def prune_settings(**changes: Any) -> PruneSettings:
    """Return the shipped settings with some of them changed; a recovery is as short as its epochs say."""
    section = full_params()["prune"]
    del section["rounds"], section["criteria"]
    section["recovery"]["min_steps"] = 0
    return PruneSettings(**{**section, **changes})

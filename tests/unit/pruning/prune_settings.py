"""The shipped ``prune`` section without its rounds, for tests of what reads one."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from secateur.config.prune import PruneSettings

_PARAMS = Path(__file__).resolve().parents[3] / "params.yaml"


def prune_settings(**changes: Any) -> PruneSettings:
    """Return the shipped settings with some of them changed; a recovery is as short as its epochs say."""
    section = YAML(typ="safe").load(_PARAMS.read_text())["prune"]
    del section["rounds"]
    section["recovery"]["min_steps"] = 0
    return PruneSettings(**{**section, **changes})

"""Parameters of earlier versions that are no more: a file that names them still runs, and says so in one line."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retired:
    """One of them.

    Attributes:
        why: what became of it, for people.
        neutral: values with which it had no effect; None = any value is accepted, since nothing follows from it.
    """

    why: str
    neutral: tuple[Any, ...] | None = None


_SHOWN = "the gate lets pass what is shown to be harmless now"

RETIRED: Mapping[str, Retired] = {
    "prune.recovery.adversarial_epsilon": Retired(
        "recovery under perturbed embeddings is gone, it made no model harder to attack", neutral=(0,)
    ),
    "promote.significance.max_drop": Retired(f"{_SHOWN} (promote.max_drop)"),
    "promote.generation.max_significant_growth": Retired(f"{_SHOWN} (promote.generation.max_growth)"),
}


def without_retired(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a params.yaml without what is retired, and name what it held.

    Raises:
        ConfigError: a value asks for something that this version no longer does.
    """
    kept = dict(values)
    for name, retired in RETIRED.items():
        kept, found = _without(kept, name.split("."))
        if not found:
            continue
        [value] = found
        if retired.neutral is not None and value not in retired.neutral:
            raise ConfigError(f"{name}={value}: {retired.why}; leave it out")
        _log.warning("%s has no effect any more: %s", name, retired.why)
    return kept


def _without(section: Mapping[str, Any], path: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """Return a section without one entry, and what that was: nothing, or one value."""
    first, *rest = path
    kept = dict(section)
    if not rest:
        return kept, [kept.pop(first)] if first in kept else []
    if not isinstance(kept.get(first), Mapping):
        return kept, []
    kept[first], found = _without(kept[first], rest)
    return kept, found

"""A part of params.yaml, judged before the rest is known."""

from collections.abc import Mapping
from typing import Any

from secateur.config.schema import RunConfig, parse_config
from secateur.kinds.registry import kind_named


def parse_part(kind: str, sections: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Validate some sections; what is missing and must be chosen has a name that stands for any.

    Raises:
        ConfigError: as ``parse_config``.
    """
    values: dict[str, Any] = {"run": {"task": kind}, **sections}
    values["ingest"] = {"source": "-", **values.get("ingest", {})}
    return parse_config(kind_named(kind).completed(values))

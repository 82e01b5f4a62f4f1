"""What every parameter is worth in a run, and whether params.yaml or the schema says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from secateur.config.schema import RunConfig

Origin = Literal["params.yaml", "default"]


@dataclass(frozen=True)
class Effective:
    """One parameter.

    Attributes:
        name: dotted, as in params.yaml.
        value: what a run uses.
        default: what it would use if params.yaml said nothing; None also where a project must choose.
        origin: who chose the value.
    """

    name: str
    value: Any
    default: Any
    origin: Origin


@cache
def _defaults() -> RunConfig:
    # The two that no default can know: where the rows are, and which column labels them.
    return RunConfig.model_validate({"ingest": {"source": "-", "label_column": "-"}})


def default_values() -> dict[str, Any]:
    """Return the value of each parameter of which params.yaml says nothing, nested, in file order."""
    values = _defaults().model_dump(mode="json", by_alias=True)
    values["ingest"] |= {"source": None, "label_column": None}
    return values


def effective(values: Mapping[str, Any], config: RunConfig) -> list[Effective]:
    """List all parameters in file order.

    Args:
        values: the content of params.yaml.
        config: the same content, validated.
    """
    defaults = dict(_leaves(default_values()))
    return [
        Effective(name, value, defaults.get(name), "params.yaml" if _says(values, name) else "default")
        for name, value in _leaves(config.model_dump(mode="json", by_alias=True))
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _says(values: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True

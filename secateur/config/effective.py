"""What every parameter is worth in a run, and whether params.yaml or the schema says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from secateur.config.base import Section
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


def effective(config: RunConfig) -> list[Effective]:
    """List all parameters in file order."""
    defaults = {name: value for name, value, _ in _leaves(_defaults()) if name not in _CHOSEN}
    return [
        # What counts by a former name is the file's choice, too.
        Effective(name, value, defaults.get(name), "params.yaml" if named or value != defaults.get(name) else "default")
        for name, value, named in _leaves(config)
    ]


def is_named(config: RunConfig, key: str) -> bool:
    """Tell whether params.yaml gives an entry (a section, a parameter or a round), rather than the schema.

    Args:
        config: as it was read.
        key: dotted, as in params.yaml.
    """
    place: Any = config
    for part in key.split("."):
        if isinstance(place, Section):
            field = _fields(type(place)).get(part)
            if field not in place.model_fields_set:
                return False
            place = getattr(place, field)
        elif isinstance(place, Mapping) and part in place:
            place = place[part]
        else:
            return False
    return True


def default_values() -> dict[str, Any]:
    """Return the value of each parameter of which params.yaml says nothing, nested, in file order."""
    values = _defaults().model_dump(mode="json", by_alias=True)
    values["ingest"] |= {"source": None, "label_column": None}
    return values


def default_rounds() -> dict[str, Any]:
    """Return the rounds of a params.yaml that names none, each with what it does differently alone."""
    return {name: entry.model_dump(mode="json", exclude_unset=True) for name, entry in _defaults().prune.rounds.items()}


_CHOSEN = ("ingest.source", "ingest.label_column")
"""What no default can know: where the rows are, and which column labels them."""


@cache
def _defaults() -> RunConfig:
    return RunConfig.model_validate({"ingest": {"source": "-", "label_column": "-"}})


@cache
def _fields(section: type[Section]) -> dict[str, str]:
    """Return the names in params.yaml -> those of the attributes."""
    return {field.alias or name: name for name, field in section.model_fields.items()}


def _leaves(section: Section, prefix: str = "", *, named: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, value and whether params.yaml gives it, of each parameter in and below a section."""
    values = section.model_dump(mode="json", by_alias=True)
    for name, field in _fields(type(section)).items():
        value, here = getattr(section, field), named and field in section.model_fields_set
        inner = value if isinstance(value, Mapping) else {"": value}
        for item, entry in inner.items():
            if isinstance(entry, Section):
                yield from _leaves(entry, ".".join(filter(None, [prefix + name, item])) + ".", named=here)
        if name not in values:
            continue  # a name that only older files use
        if not any(isinstance(entry, Section) for entry in inner.values()):
            yield prefix + name, values[name], here

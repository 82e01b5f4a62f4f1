"""Every criterion as it is, and with each other choice that its settings leave."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from secateur.config.base import Section
from secateur.config.criteria import CRITERIA

Variants = Mapping[str, tuple[str, Section]]

OF_STRUCTURES = [name for name in CRITERIA if CRITERIA[name].structures is not None]
OF_CURVES = [name for name in CRITERIA if CRITERIA[name].curves is not None]
OF_WEIGHTS = [name for name in CRITERIA if CRITERIA[name].weights is not None]


def variants(names: list[str]) -> Variants:
    """Return a title -> the name of a criterion and its settings."""
    found: dict[str, tuple[str, Section]] = {}
    for name in names:
        settings = CRITERIA[name].settings
        found[name] = (name, settings())
        for field, info in settings.model_fields.items():
            for value in _choices(info.annotation):
                if value != info.default:
                    found[f"{name}-{value}"] = (name, settings(**{field: value}))
    return found


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()

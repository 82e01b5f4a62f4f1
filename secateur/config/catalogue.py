"""Every parameter with its type, range and meaning, read from the schema itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from secateur.config.base import Section
from secateur.config.schema import RunConfig

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def parameters(of: type[Section] = RunConfig) -> list[dict[str, str]]:
    """List ``name``, ``type`` and ``description`` of every entry of params.yaml, or of a section, in file order."""
    schema = of.model_json_schema()
    return list(_walk(schema, schema["$defs"], ""))


def _walk(node: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[dict[str, str]]:
    for name, field in node["properties"].items():
        if field.get("former"):
            continue  # it still counts, and another name is the one to use
        inner = _resolve(field, definitions)
        if "properties" in inner:
            yield from _walk(inner, definitions, f"{prefix}{name}.")
        elif "properties" in (entry := _values(inner, definitions)):
            yield from _walk(entry, definitions, f"{prefix}{name}.rN.")
        else:
            yield {"name": prefix + name, "type": _type(inner), "description": field.get("description", "")}


def _values(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a mapping's values are; nothing for any other field."""
    values = field.get("additionalProperties")
    return _resolve(values, definitions) if isinstance(values, Mapping) else {}


def _resolve(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = field.get("$ref")
    return field if reference is None else definitions[reference.rpartition("/")[2]]


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"mapping of names to {_type(field['additionalProperties'])}"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items') or field['prefixItems'][0])}"
    bounds = [f"{sign} {field[name]:g}" for name, sign in _BOUNDS.items() if name in field]
    return " ".join([str(field.get("type", "")), *bounds])

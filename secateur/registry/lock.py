"""What a dvc.lock that was stored with a build says about its stages."""

from collections.abc import Mapping
from typing import Any


def stages_of(text: str | None) -> Mapping[str, Any]:
    """Return the stages of a dvc.lock by address; none for no text, or one that is no dvc.lock.

    A stage that is not as DVC writes them is left out: whoever may write to the registry has written it.
    """
    from ruamel.yaml.error import YAMLError

    from secateur.yaml_text import read_yaml

    try:
        values = read_yaml(text) if text else None
    except YAMLError:
        return {}  # whoever may write to the registry has written it, and no build
    stages = values.get("stages") if isinstance(values, dict) else None
    found = stages.items() if isinstance(stages, dict) else ()
    return {str(address): stage for address, stage in found if _is_stage(stage)}


def _is_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or not isinstance(stage.get("params") or {}, dict):
        return False
    files = [file for what in ("deps", "outs") for file in _list(stage.get(what))]
    return all(isinstance(file, dict) and _is_text(file.get("path")) and _is_text(file.get("md5")) for file in files)


def _list(value: Any) -> list[Any]:
    """Return a list, or what is none as its one entry."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def outputs_of(stages: Mapping[str, Any], address: str) -> dict[str, str]:
    """Return path -> md5 of what a stage wrote."""
    return {out["path"]: out["md5"] for out in stages.get(address, {}).get("outs") or []}

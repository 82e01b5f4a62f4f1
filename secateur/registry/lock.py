"""What a dvc.lock that was stored with a build says about its stages."""

from collections.abc import Mapping
from typing import Any


def stages_of(text: str | None) -> Mapping[str, Any]:
    """Return the stages of a dvc.lock by address; none for no text, or one that is no dvc.lock."""
    from ruamel.yaml.error import YAMLError

    from secateur.yaml_text import read_yaml

    try:
        values = read_yaml(text) if text else None
    except YAMLError:
        return {}  # whoever may write to the registry has written it, and no build
    stages = values.get("stages") if isinstance(values, dict) else None
    return stages if isinstance(stages, dict) else {}


def outputs_of(stages: Mapping[str, Any], address: str) -> dict[str, str]:
    """Return path -> md5 of what a stage wrote."""
    return {out["path"]: out["md5"] for out in stages.get(address, {}).get("outs", [])}

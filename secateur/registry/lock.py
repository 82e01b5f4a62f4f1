"""What a dvc.lock that was stored with a build says about its stages."""

from collections.abc import Mapping
from typing import Any


def stages_of(text: str | None) -> Mapping[str, Any]:
    """Return the stages of a dvc.lock by address; none for no text."""
    from ruamel.yaml import YAML

    values = YAML(typ="safe").load(text) if text else None
    return values.get("stages", {}) if isinstance(values, dict) else {}


def outputs_of(stages: Mapping[str, Any], address: str) -> dict[str, str]:
    """Return path -> md5 of what a stage wrote."""
    return {out["path"]: out["md5"] for out in stages.get(address, {}).get("outs", [])}

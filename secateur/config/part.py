"""A part of params.yaml, judged before the rest is known."""

from collections.abc import Mapping
from typing import Any

from secateur.config.run import Task
from secateur.config.schema import RunConfig, parse_config


def parse_part(task: Task, sections: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Validate some sections; what is missing and must be chosen has a name that stands for any.

    Raises:
        ConfigError: as ``parse_config``.
    """
    values: dict[str, Any] = {"run": {"task": task}, **sections}
    values["ingest"] = {"source": "-", **values.get("ingest", {})}
    if task == "generation":
        values |= {"evaluate": {"deployed": "onnx", "robustness": {"rows": 0}}, "register": {"runtime": "onnx"}}
    elif values["ingest"].get("label_column") is None:
        values["ingest"]["label_column"] = "file"
    return parse_config(values)

"""The params.yaml of a new project: what it chooses, a reason beside each line."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.config.schema import RunConfig

_HEADER = """\
# What this project chooses, and why; `secateur init` looked at the rows. Every other parameter has its default:
# `secateur params` shows them all, `secateur doctor --params` what they mean.
"""
_REASON_AT = 36


@dataclass(frozen=True)
class Choice:
    """One line of params.yaml.

    Attributes:
        name: dotted.
        value: of the parameter.
        reason: a few words that name the number seen; empty where the user chose.
    """

    name: str
    value: Any
    reason: str = ""


def nested(choices: Sequence[Choice]) -> dict[str, Any]:
    """Return the values as params.yaml holds them: sections in the order of the schema."""
    values: dict[str, Any] = {field.alias or name: {} for name, field in RunConfig.model_fields.items()}
    for choice in choices:
        *parents, last = choice.name.split(".")
        section = values
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = choice.value
    return {name: section for name, section in values.items() if section}


def render(choices: Sequence[Choice]) -> str:
    """Return the text of params.yaml."""
    reasons = {choice.name: choice.reason for choice in choices}
    lines = [_HEADER.rstrip("\n")]
    for name, section in nested(choices).items():
        lines += ["", f"{name}:", *_lines(section, prefix=f"{name}.", reasons=reasons, depth=1)]
    return "\n".join(lines) + "\n"


def _lines(section: Mapping[str, Any], *, prefix: str, reasons: Mapping[str, str], depth: int) -> list[str]:
    lines = []
    for name, value in section.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and full not in reasons:
            lines += [f"{'  ' * depth}{name}:", *_lines(value, prefix=f"{full}.", reasons=reasons, depth=depth + 1)]
            continue
        line = f"{'  ' * depth}{name}: {_scalar(value)}"
        reason = reasons.get(full, "")
        lines.append(f"{line:<{_REASON_AT}}  # {reason}".rstrip() if reason else line)
    return lines


def _scalar(value: Any) -> str:
    """Write a value in JSON, which is YAML; plain words without quotes."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_scalar(each)}' for key, each in value.items())}}}"
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    words = re.sub("[-_/. ]|:(?! |$)", "", text)
    reserved = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
    return (
        words.isascii()
        and words.isalnum()
        and text[0].isalpha()
        and text == text.strip()
        and text.casefold() not in reserved
    )

"""params.yaml: read, validate, change by ``-S section.key=value`` or ``--params FILE``; nothing is lost."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from secateur.config.addresses import redacted
from secateur.config.effective import default_rounds, default_values
from secateur.config.prune import Budget
from secateur.config.schema import RunConfig, parse_config
from secateur.config.suggestion import did_you_mean
from secateur.errors import ConfigError
from secateur.files import write_text
from secateur.workflow.project import Project
from secateur.yaml_text import TOO_DEEP, read_yaml, require_shallow

_DICT_WITH_ONE_KEY = ("prune.budget",)
"""Mappings of which exactly one key is set: assigning one replaces the other, and what belonged to it."""


_EXCLUSIVE = frozenset(Budget.model_fields) - {"price"}


def read_config(project: Project) -> RunConfig:
    """Read and validate params.yaml.

    Raises:
        ConfigError: the file is not YAML or does not fit the schema.
    """
    return parse_config(_load(_read(project.params_file), project.params_file))


@dataclass(frozen=True)
class Change:
    """Validated parameters that are not written yet."""

    config: RunConfig
    before: str
    after: str

    def apply(self, project: Project) -> bool:
        """Write params.yaml, keeping the previous one under ``.secateur/params``; tell whether it changed."""
        if self.after == self.before:
            return False
        digest = hashlib.sha256(self.before.encode()).hexdigest()[:12]
        write_text(project.state / "params" / f"{digest}.yaml", self.before)
        write_text(project.params_file, self.after)
        return True


def propose(project: Project, *, file: Path | None, overrides: Sequence[str]) -> Change:
    """Work out what params.yaml would be under ``--params FILE`` and ``-S section.key=value``.

    As with ``dvc exp run -S``, the values go into params.yaml, whose comments stay.

    Raises:
        ConfigError: an override is malformed, names no parameter, or has a value out of range.
    """
    before = _read(project.params_file)
    origin = file or project.params_file
    if not origin.is_file():
        raise ConfigError(f"--params {origin}: no such file")
    text = _read(origin)
    values = _load(text, origin)
    for override in overrides:
        _assign(values, override)
    config = parse_config(values)
    return Change(config, before, _dump(values) if overrides else text)


def assigned(text: str, overrides: Sequence[str]) -> tuple[str, RunConfig]:
    """Return the text of a params.yaml that is not written yet after ``-S section.key=value``, and what it says.

    Raises:
        ConfigError: as ``propose``.
    """
    values = _load(text, Path("params.yaml"))
    for override in overrides:
        _assign(values, override)
    return (_dump(values) if overrides else text), parse_config(values)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted names; an empty one is a value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


class _NullAsWord(RoundTripRepresenter):  # type: ignore[misc]  # ruamel is not typed here
    """Writes ``null`` as a word: an empty value reads like a mistake."""


_NullAsWord.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _NullAsWord
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path.name} is not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from error


def _load(text: str, path: Path) -> Any:
    try:
        require_shallow(text)
        values = _yaml().load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        deep = isinstance(error, RecursionError) or getattr(error, "problem", None) == TOO_DEEP
        what = TOO_DEEP if deep else "not valid YAML"
        why = f": {error}" if isinstance(error, ValueError) else ""  # a 30th of February
        raise ConfigError(f"{path.name} is {what}{line}{why}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path.name} must hold sections (run, ingest, clean, ...), found {type(values).__name__}")
    return values


def _dump(values: Any) -> str:
    stream = StringIO()
    _yaml().dump(values, stream)
    return stream.getvalue()


_OPEN = {("prune", "rounds"), ("prune", "criteria"), ("prune", "regularizers")}
"""Sections with names of their own: a round may be new, and what brings settings another package's."""


def _assign(values: Any, override: str) -> None:
    """Set one ``section.key=value`` in place."""
    name, value = read_override(override)
    if "." not in name:
        meant = did_you_mean(name)
        raise ConfigError(
            f"-S {redacted(override)}: expected section.key=value{'; ' + meant.rstrip() if meant else ''}"
        )
    *parents, last = name.split(".")
    target = values
    known: Any = default_values()
    for depth, parent in enumerate(parents):
        known = known.get(parent) if isinstance(known, dict) else None
        if isinstance(target, dict) and target.get(parent) is None and isinstance(known, dict):
            target[parent] = _beginning(".".join(parents[: depth + 1]), known)
        if not isinstance(target, dict) or not isinstance(target.get(parent), dict):
            if tuple(parents[:2]) in _OPEN and depth == 2 and isinstance(target, dict):
                target[parent] = {}
            else:
                raise ConfigError(
                    f"-S {name}: {'.'.join(parents[: depth + 1])} is not a section of params.yaml; "
                    f"{did_you_mean(name)}`secateur doctor --params` lists all parameters"
                )
        target = target[parent]
    if ".".join(parents) in _DICT_WITH_ONE_KEY and last in _EXCLUSIVE and value is not None:
        target.clear()
    target[last] = value


def _beginning(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a section that the file lacks begins with, so that one entry more changes nothing else."""
    if name == "prune.rounds":
        return default_rounds()
    if name in _DICT_WITH_ONE_KEY:
        return {key: value for key, value in known.items() if value is not None}
    return {}


_SIGNS = frozenset("|>,&*!%@`")
_RESERVED = "%@`"


def read_override(override: str, *, form: str = "section.key=value") -> tuple[str, Any]:
    """Return the name and the value of one ``-S``.

    Args:
        override: as it was given.
        form: that it should have, for the message.

    Raises:
        ConfigError: there is no ``=`` in it, or its value is not YAML.
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"-S {redacted(override)}: expected {form}")
    return name, read_value(text, override)


def read_value(text: str, override: str) -> Any:
    """Read the value of an override, by the rules of params.yaml (YAML 1.2: ``2:4`` is text and ``1e-3`` a number).

    A sign that YAML reads as nothing by itself, such as ``|``, is that sign; so is a text that begins with one that no
    text of YAML may begin with (``%d.%m.%Y``).

    Raises:
        ConfigError: it is not YAML.
    """
    if text.strip() == "":
        return ""
    if text.strip() in _SIGNS or text.strip()[0] in _RESERVED:
        return text.strip()
    try:
        return read_yaml(text)
    except YAMLError as error:
        raise ConfigError(f"-S {redacted(override)}: the value is not valid YAML") from error

"""What the user of ``secateur init`` asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.config.addresses import redacted
from secateur.errors import ConfigError
from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.workflow.params import read_override

_MAPPING = re.compile(r"\s*\{\s*\w+\s*:\s")


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where nothing was said.

    Attributes:
        root: folder of the project.
        text_columns: of the texts, or the two of pairs.
        source: as ``ingest.source``, seen from the folder ``here``.
        here: where the command was called.
        overrides: dotted name -> ``section.key=value`` as given by ``-S``, which no rule changes.
    """

    root: Path
    source: str
    here: Path
    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    model: str | None = None
    task: str = DEFAULT
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """The kind of task that the model will be for.

        Raises:
            ConfigError: there is none of this name.
        """
        return kind_named(self.task)

    @property
    def given(self) -> dict[str, Any]:
        """Dotted name -> value of what was given by ``-S``."""
        return {name: read_override(text)[1] for name, text in self.overrides.items()}


def by_name(overrides: Sequence[str]) -> dict[str, str]:
    """Return ``section.key=value`` by the name; what the names mean is checked with all others.

    Raises:
        ConfigError: one is not of this form.
    """
    for override in overrides:
        if "." not in override.partition("=")[0] or "=" not in override:
            raise ConfigError(f"-S {redacted(override)}: expected section.key=value")
    found = {override.partition("=")[0]: override for override in overrides}
    return {name: text for override in found.values() for name, text in _as_parts(override)}


def _as_parts(override: str) -> list[tuple[str, str]]:
    """Return ``ingest.source={train: a, test: b}`` as the parameters that it stands for; others as they are."""
    name, _, text = override.partition("=")
    if name != "ingest.source" or _MAPPING.match(text) is None:
        return [(name, override)]
    named = {
        "ingest.source" if part == "train" else f"ingest.{part}_source": source
        for part, source in read_override(override)[1].items()
    }
    return [(parameter, f"{parameter}={source}") for parameter, source in named.items()]

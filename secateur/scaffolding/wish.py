"""What the user of ``secateur init`` asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.errors import ConfigError
from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.workflow.params import read_value


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where nothing was said.

    Attributes:
        root: folder of the project.
        source: as ``ingest.source``, seen from the folder ``here``.
        here: where the command was called.
        overrides: dotted name -> ``section.key=value`` as given by ``-S``, which no rule changes.
    """

    root: Path
    source: str
    here: Path
    text_column: str | None = None
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
        return {name: read_value(text.partition("=")[2], text) for name, text in self.overrides.items()}


def by_name(overrides: Sequence[str]) -> dict[str, str]:
    """Return ``section.key=value`` by the name; what the names mean is checked with all others.

    Raises:
        ConfigError: one is not of this form.
    """
    for override in overrides:
        if "." not in override.partition("=")[0] or "=" not in override:
            raise ConfigError(f"-S {override}: expected section.key=value")
    return {override.partition("=")[0]: override for override in overrides}

"""What the user of ``secateur init`` asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from secateur.config.addresses import redacted
from secateur.errors import ConfigError
from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, NUMBER, SEVERAL, kind_named
from secateur.workflow.params import read_override

_MAPPING = re.compile(r"\s*\{\s*\w+\s*:\s")


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where nothing was said.

    Attributes:
        root: folder of the project.
        text_columns: of the texts, or the two of pairs.
        label_columns: of the labels, or one for each of several.
        task: name of the kind; None = what the columns and the rows say.
        sees_sets: rows were seen to have several labels each.
        separator: that was seen between the labels of cells.
        sees_numbers: the labels of rows were seen to be numbers.
        source: as ``ingest.source``, seen from the folder ``here``.
        here: where the command was called.
        overrides: dotted name -> ``section.key=value`` as given by ``-S``, which no rule changes.
    """

    root: Path
    source: str
    here: Path
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    model: str | None = None
    task: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    sees_sets: bool = False
    separator: str | None = None
    sees_numbers: bool = False

    @property
    def kind_name(self) -> str:
        """Name of the kind: the one that was asked for, or that of the labels that were named."""
        if self.task is not None:
            return self.task
        if self.sees_numbers:
            return NUMBER
        given = self.given
        listed = isinstance(given.get("ingest.label_column"), list)
        several = (
            self.sees_sets or len(self.label_columns) > 1 or listed or given.get("ingest.label_separator") is not None
        )
        return SEVERAL if several else str(given.get("run.task", DEFAULT))

    @property
    def kind(self) -> Kind:
        """The kind of task that the model will be for.

        Raises:
            ConfigError: there is none of this name.
        """
        return kind_named(self.kind_name)

    def with_sets(self, separator: str | None) -> "Wish":
        """Return the wish for rows that were seen to have several labels each."""
        return replace(self, sees_sets=True, separator=separator)

    def with_numbers(self) -> "Wish":
        """Return the wish for rows whose labels were seen to be numbers."""
        return replace(self, sees_numbers=True)

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

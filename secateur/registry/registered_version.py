"""What the registry says of a version and of a model, as it was asked at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.registry.tags import Aliases, VersionTags


@dataclass(frozen=True)
class RegisteredVersion:
    """What the registry says of one version.

    Attributes:
        name: of the registered model.
        version: its number.
        aliases: that point at it, in alphabetical order.
        created: milliseconds since 1970.
        run: of MLflow, that made it.
        metrics: of that run.
        tags: of the version.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    created: int
    run: str | None
    metrics: Mapping[str, float]
    tags: VersionTags

    @property
    def reference(self) -> str:
        """``models:/name/3``."""
        return f"models:/{self.name}/{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "aliases": list(self.aliases),
            "created": self.created,
            "run": self.run,
            "metrics": dict(self.metrics),
            "tags": dict(self.tags),
        }


@dataclass(frozen=True)
class ListedModel:
    """A registered model with its versions, newest first; one that has none yet has an empty list."""

    name: str
    aliases: Aliases
    versions: tuple[RegisteredVersion, ...]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        aliases = {alias: int(number) for alias, number in self.aliases.items()}
        return {"name": self.name, "aliases": aliases, "versions": [version.as_json() for version in self.versions]}

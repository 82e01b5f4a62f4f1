"""Preset multipliers on the importance of matrices, by the names a user types."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from secateur.errors import ConfigError

_NAMED = 4
"""So many matrices are named in a message; a model has dozens."""


def factors_of(multipliers: Mapping[str, float], names: Iterable[str], *, complete: bool) -> dict[str, float]:
    """Return the multiplier of every matrix; 1 where nothing is said.

    A pattern names a matrix or everything below a part of its name, part by part: ``layers.*.ffn`` covers
    ``layers.0.ffn.up``. Of several that cover a matrix the last one counts.

    Args:
        multipliers: pattern -> factor, 0 or more; infinity protects.
        names: of all matrices, see ``matrices.prunable``.
        complete: True asks for a multiplier for every matrix.

    Raises:
        ConfigError: naming every pattern that covers nothing and every matrix that is missing.
    """
    known = list(names)
    covers = {name: [pattern for pattern in multipliers if _covers(pattern, name)] for name in known}
    used = {pattern for patterns in covers.values() for pattern in patterns}
    unknown = [pattern for pattern in multipliers if pattern not in used]
    missing = [name for name, patterns in covers.items() if complete and not patterns]
    if unknown or missing:
        raise ConfigError(_complaint(unknown, missing, known))
    return {name: float(multipliers[patterns[-1]]) if patterns else 1.0 for name, patterns in covers.items()}


def _covers(pattern: str, name: str) -> bool:
    asked, found = pattern.split("."), name.split(".")
    return len(asked) <= len(found) and all(fnmatchcase(part, own) for own, part in zip(asked, found, strict=False))


def _complaint(unknown: list[str], missing: list[str], known: list[str]) -> str:
    said = []
    if unknown:
        said.append(f"names no weights that may go: {', '.join(unknown)}")
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        said.append(f"has no entry for {', '.join(missing[:_NAMED])}{more}")
    listed = ", ".join(known[:_NAMED]) + (", ..." if len(known) > _NAMED else "")
    return (
        f"prune.multipliers {'; it '.join(said)}; a name is a matrix ({listed}) or a part of it, such as layers.*.ffn"
    )

"""Copies of the source files behind every recorded stage, so that ``why`` can show the line that changed."""

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.files import write_bytes, write_json
from secateur.identity.sources import Sources
from secateur.workflow.code_lock import StageCode
from secateur.workflow.project import Project
from secateur.workflow.results import read_json


@dataclass(frozen=True)
class Change:
    """How one source file differs from what a stage was recorded with.

    Attributes:
        name: as in ``secateur/pruning/round.py``.
        what: happened to it.
        lines: those of a changed file, as ``+12: new`` and ``-11: old``.
    """

    name: str
    what: Literal["is new", "is no longer used", "changed"]
    lines: tuple[str, ...] = ()


def keep(project: Project, code: StageCode) -> None:
    """Keep the source files of a stage, and which they are, under their digests."""
    listed = _listed(project, code.digest)
    if listed.exists():
        return
    names = {}
    for name, file in code.files.items():
        content = file.read_bytes()
        names[name] = hashlib.sha256(content).hexdigest()
        kept = _path(project, names[name])
        if not kept.exists():
            write_bytes(kept, content)
    write_json(listed, names)


def changes(project: Project, recorded: str, code: StageCode) -> list[Change] | None:
    """Compare the code of a stage with what it was recorded with; None when that was not kept."""
    before = read_json(_listed(project, recorded))
    if not before:
        return None
    sources = Sources()
    found = [Change(name, "is new") for name in code.files if name not in before]
    found += [Change(name, "is no longer used") for name in before if name not in code.files]
    for name, file in code.files.items():
        kept = _path(project, before[name]) if name in before else file
        if kept.exists() and _differs(kept, file, sources):
            found.append(Change(name, "changed", _changed_lines(kept, file)))
    return sorted(found, key=lambda change: change.name)


def _differs(kept: Path, file: Path, sources: Sources) -> bool:
    if kept.read_bytes() == file.read_bytes():
        return False
    return sources.read(kept, suffix=file.suffix).digest != sources.read(file).digest


def _changed_lines(kept: Path, file: Path) -> tuple[str, ...]:
    before = kept.read_text(encoding="utf-8").splitlines()
    after = file.read_text(encoding="utf-8").splitlines()
    lines: list[str] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            lines += [f"-{number + 1}: {before[number].strip()}" for number in range(i1, i2) if before[number].strip()]
            lines += [f"+{number + 1}: {after[number].strip()}" for number in range(j1, j2) if after[number].strip()]
    return tuple(lines)


def _path(project: Project, digest: str) -> Path:
    return project.state / "code" / digest


def _listed(project: Project, digest: str) -> Path:
    return project.state / "code" / f"{digest}.json"

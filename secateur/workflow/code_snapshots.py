"""Copies of the source files behind every recorded stage, so that ``why`` can show the line that changed."""

import difflib
import hashlib
from pathlib import Path

from secateur.files import replacing
from secateur.workflow.key import Identity
from secateur.workflow.project import Project


def keep(project: Project, identity: Identity) -> None:
    """Keep the source files of an identity under their digests."""
    for path, digest in identity.dependencies.items():
        if not path.endswith((".py", ".j2", ".css")):
            continue
        content = (project.root / path).read_bytes()
        kept = _path(project, digest)
        if not kept.exists() and hashlib.md5(content, usedforsecurity=False).hexdigest() == digest:
            with replacing(kept) as temporary:
                temporary.write_bytes(content)


def changed_lines(project: Project, path: str, recorded: str) -> list[str]:
    """Return the lines of a source file that differ from the recorded version, as ``+12: new`` and ``-11: old``.

    Empty when the recorded version was not kept, or the file is gone.
    """
    kept, now = _path(project, recorded), project.root / path
    if not kept.exists() or not now.exists():
        return []
    before = kept.read_text(encoding="utf-8").splitlines()
    after = now.read_text(encoding="utf-8").splitlines()
    lines: list[str] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            lines += [f"-{number + 1}: {before[number].strip()}" for number in range(i1, i2)]
            lines += [f"+{number + 1}: {after[number].strip()}" for number in range(j1, j2)]
    return lines


def _path(project: Project, digest: str) -> Path:
    return project.state / "code" / digest

"""What a stage uses of the kind of task: no import leads there, since a kind is found by its name.

A kind answers everything from the loss to the page, in one file. So its methods count one by one: those whose names
stand in the code of the stage, with what they import; what stands outside of them always counts.
"""

import ast
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from secateur.identity.closure import ANSWERS, Sources, absolute, closure, digest_of, file_of

_REGISTRY = "secateur/kinds/registry.py"
"""Who finds a kind has this file in its closure."""


def with_kind(
    files: Mapping[str, Path], kind: str, *, roots: Mapping[str, Path], sources: Sources
) -> tuple[dict[str, Path], str]:
    """Add what a stage uses of a kind.

    Args:
        files: the closure of the stage.
        kind: module of the kind.
        roots: as for ``closure``, with that of the kind.
        sources: reads the files.

    Returns:
        The files of the stage, sorted, and the digest of what they do.
    """
    if _REGISTRY not in files:
        return dict(files), digest_of(files, sources)
    root = roots[kind.partition(".")[0]]
    own = file_of(root, kind)
    assert own is not None
    name = own.relative_to(root).as_posix()
    parts = {part: sources.look_at(text.encode()) for part, text in _parts(own.read_text(encoding="utf-8"))}
    is_package = own.name == "__init__.py"
    used, found = {""}, {**files, **_around(kind, roots, sources)}
    seen: set[str] = set()
    while new := used - seen:
        seen |= new
        imports = [one for part in new for one in absolute(parts[part].imports, module=kind, is_package=is_package)]
        found |= closure(*imports, roots=roots, sources=sources)
        asked = {word for file in found.values() if file != own for word in sources.read(file).attributes}
        asked |= {word for part in used for word in parts[part].attributes}
        used |= asked & parts.keys()
    others = {path: file for path, file in sorted(found.items()) if path != name}
    said = "".join(f"{part} {parts[part].digest}\n" for part in sorted(used))
    digest = hashlib.sha256(f"{digest_of(others, sources)}\n{name}\n{said}".encode()).hexdigest()[:32]
    return dict(sorted({**others, name: own}.items())), digest


def _around(kind: str, roots: Mapping[str, Path], sources: Sources) -> dict[str, Path]:
    """Return what importing a module of this name runs before: the packages that it is in."""
    parent = kind.rpartition(".")[0]
    return closure(parent, roots=roots, sources=sources) if parent else {}


@lru_cache(maxsize=4)
def _parts(text: str) -> tuple[tuple[str, str], ...]:
    """Return the methods of the file by name, and under no name what is left without them."""
    lines = text.splitlines(keepends=True)
    rest = list(lines)
    methods: dict[str, str] = {}
    for node in ast.parse(text).body:
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef) and member.name in ANSWERS:
                start = min([member.lineno, *(one.lineno for one in member.decorator_list)]) - 1
                written = "if True:\n" + "".join(lines[start : member.end_lineno])
                methods[member.name] = methods.get(member.name, "") + written
                rest[start : member.end_lineno] = [
                    f"{' ' * member.col_offset}{member.name} = ...\n",
                    *[""] * ((member.end_lineno or start) - start - 1),
                ]
    return ("", "".join(rest)), *methods.items()

"""What a stage uses of the kind of task: no import leads there, since a kind is found by its name.

A kind answers everything from the loss to the page, in its file and in those of the classes that it is one of. So their
methods count one by one: those whose names stand in the code of the stage, with what they import; what stands outside
of them always counts.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from secateur.identity.closure import closure, digest_of
from secateur.identity.sources import ANSWERS, Source, Sources, absolute, file_of
from secateur.kinds.base import Kind

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
    layers = _layers(kind, roots)
    parts = {
        (module, part): sources.look_at(text.encode())
        for module, (_, file) in layers.items()
        for part, text in _parts(file.read_text(encoding="utf-8"))
    }
    own = {path for path, _ in layers.values()}
    used, found = {(module, "") for module in layers}, {**files, **_around(layers, roots, sources)}
    seen: set[tuple[str, str]] = set()
    while new := used - seen:
        seen |= new
        found |= closure(*_imports(new, parts, layers, roots), roots=roots, sources=sources)
        asked = {word for path, file in found.items() if path not in own for word in sources.read(file).attributes}
        asked |= {word for part in used for word in parts[part].attributes}
        used |= {(module, part) for module, part in parts if part in asked}
    others = {path: file for path, file in sorted(found.items()) if path not in own}
    said = [digest_of(others, sources)]
    for module, (path, _) in layers.items():
        said += [path, *(f"{part} {parts[module, part].digest}" for layer, part in sorted(used) if layer == module)]
    digest = hashlib.sha256("".join(f"{line}\n" for line in said).encode()).hexdigest()[:32]
    return dict(sorted({**others, **dict(layers.values())}.items())), digest


def _layers(kind: str, roots: Mapping[str, Path]) -> dict[str, tuple[str, Path]]:
    """Return the modules of a kind and of the classes that it is one of, up to ``Kind``: path from the root, file."""
    found: dict[str, tuple[str, Path]] = {}
    waiting = [kind]
    while waiting:
        module = waiting.pop()
        root = roots.get(module.partition(".")[0])
        file = None if root is None else file_of(root, module)
        if root is None or file is None or module in found:
            continue
        found[module] = file.relative_to(root).as_posix(), file
        named = absolute(_bases(file.read_text(encoding="utf-8")), module=module, is_package=file.name == "__init__.py")
        waiting += [name for name in named if name != Kind.__module__]
    return found


@lru_cache(maxsize=8)
def _bases(text: str) -> tuple[str, ...]:
    """Return the modules from which a file imports what its classes inherit from."""
    body = ast.parse(text).body
    inherited = {
        base.id for node in body if isinstance(node, ast.ClassDef) for base in node.bases if isinstance(base, ast.Name)
    }
    return tuple(
        "." * node.level + (node.module or "")
        for node in body
        if isinstance(node, ast.ImportFrom) and inherited & {alias.asname or alias.name for alias in node.names}
    )


def _imports(
    used: Iterable[tuple[str, str]],
    parts: Mapping[tuple[str, str], Source],
    layers: Mapping[str, tuple[str, Path]],
    roots: Mapping[str, Path],
) -> Iterator[str]:
    """Yield what some parts import; the other layers, and what is taken from them, count by their parts."""
    for module, part in used:
        is_package = layers[module][1].name == "__init__.py"
        for name in absolute(parts[module, part].imports, module=module, is_package=is_package):
            of_layer = name.rpartition(".")[0] in layers and file_of(roots[name.partition(".")[0]], name) is None
            if name not in layers and not of_layer:
                yield name


def _around(modules: Iterable[str], roots: Mapping[str, Path], sources: Sources) -> dict[str, Path]:
    """Return what importing modules of these names runs before: the packages that they are in."""
    parents = [parent for module in modules if (parent := module.rpartition(".")[0])]
    return closure(*parents, roots=roots, sources=sources)


@lru_cache(maxsize=8)
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

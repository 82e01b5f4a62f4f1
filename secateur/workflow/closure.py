"""Which source files a stage uses: the import closure of its module inside the repository.

DVC does not follow imports, so a stage whose library code changed would count as up to date. Imports inside
functions count too; those under ``if TYPE_CHECKING`` do not, since they never run.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("secateur",)
"""Where stage code lives."""

RESOURCES = (".j2", ".css")
"""Files beside the modules of a package that decide its output."""


def closure(root: Path, module: str) -> tuple[str, ...]:
    """Return the files that ``module`` uses, as sorted paths relative to ``root``."""
    found: set[Path] = set()
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _file_of(root, name)
        if file is None:
            continue
        found.add(file)
        found.update(path for path in file.parent.iterdir() if path.suffix in RESOURCES)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting.extend(_imports(file))
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def _file_of(root: Path, module: str) -> Path | None:
    """Return the file of a dotted name, or None when it names an attribute."""
    base = root.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(file: Path) -> tuple[str, ...]:
    return _imports_of_source(file.read_text(encoding="utf-8"))


@cache
def _imports_of_source(source: str) -> tuple[str, ...]:
    return tuple(sorted(set(_walk(ast.parse(source)))))


def _walk(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from _walk(statement)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_ours(alias.name))
    elif isinstance(node, ast.ImportFrom) and node.module is not None and _is_ours(node.module):
        yield node.module
        # `from package import name`: the name may be a module.
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES

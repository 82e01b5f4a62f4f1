"""What a source file says: its digest without comments and docstrings, and what it imports."""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.identity.source_text import essential
from secateur.kinds.base import Kind

RESOURCES = (".j2", ".css")
ANSWERS = frozenset(name for name in vars(Kind) if not name.startswith("_"))
_ANSWERS_DIGEST = hashlib.sha256(" ".join(sorted(ANSWERS)).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Source:
    """What a closure needs to know of one file.

    Attributes:
        digest: sha256 of what it does (``source_text.essential``), or of all bytes of a resource.
        imports: dotted names, relative ones with their dots.
        attributes: of those names that are read off an object, the ones that a kind of task answers to.
    """

    digest: str
    imports: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


class Sources:
    """Files that were looked at, by the digest of their bytes: a file that did not change is not parsed again."""

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        """Begin with what ``as_json`` gave earlier."""
        self._known = {
            key: Source(value["digest"], tuple(value["imports"]), tuple(value["attributes"]))
            for key, value in (known or {}).items()
            if "attributes" in value
        }
        self._used: dict[str, Source] = {}
        self._read: dict[Path, Source] = {}
        self._modules: dict[tuple[Path, str], tuple[dict[str, Path], list[str]]] = {}

    def read(self, file: Path, *, suffix: str | None = None) -> Source:
        """Return what is to know of a file, whose suffix may be said when its name has none.

        Raises:
            SyntaxError: it is no Python.
        """
        if file not in self._read:
            self._read[file] = self.look_at(file.read_bytes(), suffix=suffix or file.suffix)
        return self._read[file]

    def look_at(self, content: bytes, *, suffix: str = ".py") -> Source:
        """Return what is to know of the content of a file, or of a part of one.

        Raises:
            SyntaxError: it is no Python.
        """
        sha = hashlib.sha256(content).hexdigest()
        key = f"{sha}.{_ANSWERS_DIGEST}"
        if key not in self._used:
            self._used[key] = self._known.get(key) or _look_at(content, sha, suffix=suffix)
        return self._used[key]

    def module(self, root: Path, name: str) -> tuple[Mapping[str, Path], Sequence[str]]:
        """Return the files of a module by their paths from the root, and what it imports; none of an attribute."""
        if (root, name) not in self._modules:
            file = file_of(root, name)
            self._modules[root, name] = ({}, []) if file is None else self._module(root, name, file)
        return self._modules[root, name]

    def _module(self, root: Path, name: str, file: Path) -> tuple[dict[str, Path], list[str]]:
        used = (file, *(path for path in file.parent.iterdir() if path.suffix in RESOURCES))
        imports = absolute(self.read(file).imports, module=name, is_package=file.name == "__init__.py")
        return {path.relative_to(root).as_posix(): path for path in used}, imports

    @property
    def complete(self) -> bool:
        """Nothing had to be parsed, and nothing is known that was not asked for."""
        return self._known == self._used

    def as_json(self) -> dict[str, Any]:
        """Return what was asked for, as JSON values."""
        return {key: asdict(used) for key, used in self._used.items()}


def file_of(root: Path, module: str) -> Path | None:
    """Return the file of a dotted name, or None when it names an attribute."""
    base = root.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def absolute(imports: Iterable[str], *, module: str, is_package: bool) -> list[str]:
    """Return the dotted names that a module imports, relative ones made absolute."""
    package = module if is_package else module.rpartition(".")[0]
    return [_absolute(name, package) for name in imports]


def _absolute(imported: str, package: str) -> str:
    name = imported.lstrip(".")
    if name == imported:
        return name
    parts = package.split(".")
    parts = parts[: len(parts) - (len(imported) - len(name) - 1)]
    return ".".join([*parts, name] if name else parts)


def _look_at(content: bytes, key: str, *, suffix: str) -> Source:
    if suffix != ".py":
        return Source(key)
    text = content.decode("utf-8")
    digest = hashlib.sha256(essential(text).encode()).hexdigest()
    tree = ast.parse(text)
    return Source(digest, tuple(sorted(set(_imports(tree)))), _attributes(tree))


def _attributes(tree: ast.AST) -> tuple[str, ...]:
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return tuple(sorted(found & ANSWERS))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from _imports(statement)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield module
        # `from package import name`: the name may be a module.
        joint = "" if module.endswith(".") else "."
        yield from (f"{module}{joint}{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)

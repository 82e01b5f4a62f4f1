"""Where data and models come from: a local path, a file inside an installed package, an address, or the hub."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from secateur.config.addresses import file_name, is_address, problem_of, redacted, scheme_of
from secateur.errors import DataError
from secateur.files import at_home
from secateur.sources.compression import ENDINGS, bare

PACKAGE_PREFIX = "package:"
DATABASE_PREFIX = "database:"
"""Stands before the name of the environment's variable that holds the address of a database server."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WRAPPERS = frozenset({
    "async_wrapper", "asyncwrapper", "blockcache", "cached", "data", "dir", "filecache", "generic", "libarchive",
    "reference", "simplecache", "tar", "zip",
})  # fmt: skip
"""File systems of fsspec that show another one."""
_WILDCARDS = frozenset("*?[")
_OUTSIDE = r"((?:\$\{\w+\}|[^{}])*)"
_BRACES = re.compile(rf"{_OUTSIDE}\{{([^{{}}]*,[^{{}}]*)\}}{_OUTSIDE}")
SourceKind = Literal["file", "package", "address", "database", "hub"]
PlainFormat = Literal["lines", "text", "fasttext"]
TableFormat = Literal["csv", "tsv", "jsonl", "parquet", "excel", "sqlite", "duckdb"] | PlainFormat

BY_ENDING: Mapping[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
    **dict.fromkeys((".db", ".db3", ".sqlite", ".sqlite3"), "sqlite"),
    **dict.fromkeys((".duckdb", ".ddb"), "duckdb"),
}
"""What a file is by the end of its name, where nobody says it."""

DATABASES = frozenset({"sqlite", "duckdb"})
"""Formats of files that answer to ``ingest.query``."""

_DATABASES = {ending for ending, what in BY_ENDING.items() if what in DATABASES}
PLAIN_TEXT = (".txt", ".text")
_FILE_ENDINGS = ENDINGS | {*BY_ENDING, *PLAIN_TEXT}


@dataclass(frozen=True)
class Location:
    """A source that was found.

    Attributes:
        kind: ``file`` (a path on this machine), ``package``, ``address``, ``database`` (a server's) or ``hub``.
        name: what the user asked for; an absolute path is reduced to its last part.
        path: the file or folder; None where the bytes are not here yet.
        origin: package name, version and licence, for the provenance record.
        asked_by: the parameter that named it.
    """

    kind: SourceKind
    name: str
    path: Path | None
    origin: dict[str, Any]
    asked_by: str = "ingest.source"

    @property
    def file_name(self) -> str | None:
        """The name of its file, here or not; None for a hub id, which has none."""
        if self.path is not None:
            return self.path.name
        if self.kind == "database":
            return f"{self.name.removeprefix(DATABASE_PREFIX)}.jsonl"
        return file_name(self.name) if self.kind == "address" else None


def locate(
    source: str,
    *,
    asked_by: str = "ingest.source",
    root: Path | None = None,
    at: Path | None = None,
    addresses: bool = False,
) -> Location:
    """Find a source without importing a package and without the network.

    Args:
        source: a path, ``package:NAME/path``, a hub id or, where these are taken, an address or ``database:NAME``.
        asked_by: the parameter that holds ``source``, for the messages.
        root: folder that a relative path starts from; the current one by default.
        at: where ``source`` is, when the caller knows that it is a local path.
        addresses: whether the caller fetches what an address names (``fetching``), and asks servers (``postgres``).

    Raises:
        DataError: nothing is there; the message names what was looked for.
    """
    if source.startswith(PACKAGE_PREFIX):
        return _in_package(source, asked_by=asked_by)
    path = at_home(Path(source))
    found = at or (path if root is None else root / path)
    if found.exists():
        return Location("file", path.name if path.is_absolute() else path.as_posix(), found, {}, asked_by)
    if elsewhere := _elsewhere(source, asked_by=asked_by, taken=addresses):
        return elsewhere
    if at is not None or _looks_like_a_path(source):
        raise DataError(f"{asked_by}: there is no file {source!r}{_nearby(found)}")
    return Location("hub", source, None, {}, asked_by)


def _elsewhere(source: str, *, asked_by: str, taken: bool) -> Location | None:
    """Return a server's database or an address, where it is one; refuse it where such are not taken."""
    if source.startswith(DATABASE_PREFIX):
        if not taken:
            raise DataError(f"{asked_by}: {redacted(source)} names a database, and files are read here")
        if not source.removeprefix(DATABASE_PREFIX).isidentifier():
            raise DataError(f"{asked_by}: {redacted(source)} is not of the form database:NAME, NAME of the environment")
        return Location("database", source, None, {}, asked_by)
    if not is_address(source):
        return None
    if not taken:
        raise DataError(
            f"{asked_by}={redacted(source)} is an address, and nothing is fetched from one here; download the file and "
            "name its path"
        )
    if (problem := problem_of(source)) is not None:
        raise DataError(f"{asked_by}={redacted(source)} {problem}")
    _require_known(source, asked_by=asked_by)
    return Location("address", source, None, {}, asked_by)


def _require_known(address: str, *, asked_by: str) -> None:
    """Refuse an address that fsspec has no name for, or that it would look up elsewhere than at its place.

    Raises:
        DataError: naming some that work.
    """
    from fsspec.registry import known_implementations, registry

    scheme = scheme_of(address)
    if scheme in _WRAPPERS or (scheme not in known_implementations and scheme not in registry):
        raise DataError(
            f"{asked_by}={address}: nothing opens {scheme}:// addresses of files; https, s3, gs, hf, ftp and sftp are "
            "some that work"
        )


def expand(source: str, *, root: Path | None = None) -> list[str]:
    """Return the sources that one names, in the order in which their rows are counted.

    ``a/{b,c}.txt`` is ``a/b.txt`` and ``a/c.txt``; a folder stands for the files of rows in it, if they are of one
    format, and ``a/*.csv`` for those that fit, by their names. Others name themselves.

    Args:
        source: a source.
        root: folder that a relative path starts from; the current one by default.
    """
    if source.startswith(PACKAGE_PREFIX) or (found := _BRACES.fullmatch(source)) is None:
        return _files(source, root=root)
    before, inside, after = found.groups()
    return [f"{before}{name.strip()}{after}" for name in inside.split(",")]


def is_braced(source: str) -> bool:
    """Tell whether a source names several files in braces."""
    return _BRACES.fullmatch(source) is not None


def _files(source: str, *, root: Path | None) -> list[str]:
    """Return the files of a folder, where they are of one format, or of a pattern; else the source itself."""
    path, base = at_home(Path(source)), root or Path()
    if not _may_be_path(source):
        return [source]
    if (base / path).is_dir():
        held = [path / file.name for file in (base / path).iterdir() if bare(file).suffix.lower() in _FILE_ENDINGS]
    elif _WILDCARDS & set(source) and not (base / path).exists():
        start = Path(path.anchor) if path.is_absolute() else base
        fits = start.glob(path.relative_to(path.anchor).as_posix())
        held = [file if path.is_absolute() else file.relative_to(base) for file in fits]
    else:
        return [source]
    files = [file for file in held if (base / file).is_file() and not file.name.startswith((".", "_"))]
    of_model = any(file.name == "config.json" for file in files)
    if not files or of_model or len({bare(file).suffix.lower() for file in files}) > 1:
        return [source]
    return sorted(file.as_posix() for file in files)


def is_local(source: str, *, root: Path) -> bool:
    """Tell whether ``source`` names a path of this machine, there or not, rather than something of another place."""
    if not _may_be_path(source):
        return False
    return (root / at_home(Path(source))).exists() or _looks_like_a_path(source)


def _may_be_path(source: str) -> bool:
    return not source.startswith((PACKAGE_PREFIX, DATABASE_PREFIX)) and not is_address(source)


def _looks_like_a_path(source: str) -> bool:
    return (
        _HUB_ID.fullmatch(source) is None
        or Path(source).suffix.lower() in _FILE_ENDINGS
        or (Path(source).parts[0] != source and Path(source).parent.is_dir())
    )


def _nearby(path: Path) -> str:
    """Name what the folder does hold, so that a typing error shows; databases where one was asked for."""
    if not path.parent.is_dir():
        return f"; the folder {path.parent.name or '/'!r} does not exist either"
    endings = _FILE_ENDINGS if path.suffix.lower() in _DATABASES else _FILE_ENDINGS - _DATABASES
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file() and p.suffix.lower() in endings)
    return f"; its folder holds {_shortened(names)}" if names else ""


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _in_package(source: str, *, asked_by: str) -> Location:
    name, _, inside = source.removeprefix(PACKAGE_PREFIX).partition("/")
    relative = PurePosixPath(inside)
    if not name or not inside or relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{asked_by}: {source!r} is not of the form package:NAME/path/inside/the/package")
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(f"{asked_by}: package {name!r} is not installed; try: pip install {name}") from error
    origin: dict[str, Any] = {"package": distribution.metadata["Name"], "version": distribution.version}
    if licence := _licence(distribution):
        origin["licence"] = licence
    for folder in _module_folders(distribution, name):
        if (folder / inside).exists():
            return Location("package", source, folder / inside, origin, asked_by)
    ending = relative.suffix
    shipped = sorted(str(file) for file in distribution.files or () if ending and file.suffix == ending)
    has = f"; its {ending} files are {_shortened(shipped)}" if shipped else ""
    raise DataError(f"{asked_by}: package {name} {distribution.version} has no {inside!r}{has}")


def _module_folders(distribution: importlib.metadata.Distribution, name: str) -> Iterator[Path]:
    """Yield the folders of the top-level modules; find_spec does not run code of a top-level name."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    installed = {file.parts[0] for file in distribution.files or () if file.name == "__init__.py"}
    for module in dict.fromkeys([*listed, re.sub(r"[-.]+", "_", name), *sorted(installed)]):
        if not module.isidentifier():
            continue
        spec = importlib.util.find_spec(module)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            yield Path(folder)


def _licence(distribution: importlib.metadata.Distribution) -> str | None:
    """Return the declared licence, unless the field holds nothing or the whole licence text."""
    declared = distribution.metadata.json
    for key in ("license_expression", "license"):
        value = str(declared.get(key, "")).strip()
        if value and value != "UNKNOWN" and "\n" not in value:
            return value
    return None

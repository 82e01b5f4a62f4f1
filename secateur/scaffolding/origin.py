"""Where the rows of a new project are, and what the project will call that place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from secateur.config.ingest import SQLITE
from secateur.errors import DataError
from secateur.files import at_home
from secateur.sources.locations import Location, expand, is_braced, locate


@dataclass(frozen=True)
class Origin:
    """Where the rows are, and what params.yaml will call that.

    Attributes:
        name: the source as the project will know it.
        asked: the source as anybody can name it now, before it is copied.
        location: of its first file; of a hub dataset without a path.
        copies: name in the folder -> file that is copied there.
        fetched: holds what came from addresses, until the project keeps it; None where nothing did.
        holder: the folder of what a server answered.
    """

    name: str
    asked: str
    location: Location
    copies: Mapping[str, Path] = field(default_factory=dict)
    fetched: "TemporaryDirectory[str] | None" = None
    holder: "TemporaryDirectory[str] | None" = None


def origin_of(
    source: str, *, root: Path, here: Path, query: str | None = None, asked_by: str = "ingest.source"
) -> Origin:
    """Find the source: in the folder of the command, else in that of the project, or fetch it from elsewhere.

    Args:
        source: as that parameter.
        root: folder of the project.
        here: folder of the command.
        query: what a database server is asked.
        asked_by: the parameter that names the source, for messages.

    Raises:
        DataError: it is not there, cannot be fetched, or a file of its name is in the project already.
    """
    source = source.removeprefix(SQLITE)
    base = base_of(expand(source)[0] if is_braced(source) else source, root=root, here=here)
    names = expand(source, root=base)
    locations = [locate(name, asked_by=asked_by, root=base, addresses=True) for name in names]
    if {location.kind for location in locations} == {"address"}:
        return _fetched(source, locations)
    if locations[0].kind == "database" and len(locations) == 1:
        return _answered(locations[0], query)
    if any(location.kind != "file" for location in locations):
        return Origin(source, source, locations[0])
    files = tuple(_absolute(location.path) for location in locations if location.path)
    asked = _braced([str(path) for path in files])
    if all(path.is_relative_to(root) for path in files):
        inside = [path.relative_to(root).as_posix() for path in files]
        # A folder or a pattern stays one: files that are added to it are rows, too.
        stays = names != [source] and not is_braced(source) and not Path(source).is_absolute() and base == root
        return Origin(source if stays else _braced(inside), asked, locations[0])
    copies = {path.name: path for path in files}
    if len(copies) < len(files):
        raise DataError(f"{asked_by}={source}: two of its files have the same name; rename one of them")
    for name, path in copies.items():
        if (root / name).exists() and not (root / name).samefile(path) and not _same(root / name, path):
            raise DataError(f"{root / name} is there already and is not {path}; rename one of them")
    return Origin(_braced([path.name for path in files]), asked, locations[0], copies)


def _fetched(source: str, locations: Sequence[Location]) -> Origin:
    from secateur.sources.fetching import brought

    folder = TemporaryDirectory()
    here = brought({"train": locations}, into=Path(folder.name))["train"]
    return Origin(source, _braced([str(location.path) for location in here]), here[0], fetched=folder)


def _answered(location: Location, query: str | None) -> Origin:
    """Ask a server once; its answer is looked at, and what the project copies is what it answers then."""
    from secateur.readers.postgres import write_server_answer

    folder = TemporaryDirectory()
    answer = Path(folder.name) / str(location.file_name)
    write_server_answer(location, query, columns=None, out=answer)
    return Origin(location.name, str(answer), replace(location, path=answer), holder=folder)


def _absolute(path: Path) -> Path:
    """Return the path without what leads to its folder in a roundabout way; a link stays the link that it is."""
    return path.parent.resolve() / path.name


def base_of(name: str, *, root: Path, here: Path) -> Path:
    """Return the folder from which a path is meant: that of the command, unless it is found in the project alone."""
    path = at_home(Path(name))
    return root if not (here / path).exists() and (root / path).exists() else here


def _braced(names: Sequence[str]) -> str:
    """Name one file, or several as braces do."""
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"


def _same(left: Path, right: Path) -> bool:
    return left.stat().st_size == right.stat().st_size and left.read_bytes() == right.read_bytes()

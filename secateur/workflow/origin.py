"""Where the rows of a new project are, and what the project will call that place."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from secateur.data.sources import Location, expand, locate
from secateur.errors import DataError


@dataclass(frozen=True)
class Origin:
    """Where the rows are, and what params.yaml will call that.

    Attributes:
        name: the source as the project will know it.
        location: of its first file; of a hub dataset without a path.
        files: of this machine, in order; none of a package or a hub.
        copies: name in the folder -> file that is copied there.
    """

    name: str
    location: Location
    files: tuple[Path, ...] = ()
    copies: Mapping[str, Path] = field(default_factory=dict)


def origin_of(source: str, *, root: Path, here: Path) -> Origin:
    """Find the source: in the folder of the command, else in that of the project.

    Raises:
        DataError: it is not there, or a file of its name is in the project already.
    """
    names = expand(source)
    base = base_of(names[0], root=root, here=here)
    locations = [locate(name, root=base) for name in names]
    if any(location.kind != "file" for location in locations):
        return Origin(source, locations[0])
    files = tuple(_absolute(location.path) for location in locations if location.path)
    if all(path.is_relative_to(root) for path in files):
        inside = [path.relative_to(root).as_posix() for path in files]
        return Origin(inside[0] if len(files) == 1 else _braced(source, inside), locations[0], files)
    copies = {path.name: path for path in files}
    for name, path in copies.items():
        if (root / name).exists() and not (root / name).samefile(path) and not _same(root / name, path):
            raise DataError(f"{root / name} is there already and is not {path}; rename one of them")
    name = files[0].name if len(files) == 1 else _braced(source, [path.name for path in files])
    return Origin(name, locations[0], files, copies)


def _absolute(path: Path) -> Path:
    """Return the path without what leads to its folder in a roundabout way; a link stays the link that it is."""
    return path.parent.resolve() / path.name


def base_of(name: str, *, root: Path, here: Path) -> Path:
    """Return the folder from which a path is meant: that of the command, unless it is found in the project alone."""
    path = Path(name).expanduser()
    return root if not (here / path).exists() and (root / path).exists() else here


def _braced(source: str, names: Sequence[str]) -> str:
    """Name several files as braces do, with what their names share outside."""
    before = os.path.commonprefix(list(names))
    after = os.path.commonprefix([name[len(before) :][::-1] for name in names])[::-1]
    inside = ",".join(name[len(before) : len(name) - len(after)] for name in names)
    return f"{before}{{{inside}}}{after}"


def _same(left: Path, right: Path) -> bool:
    return left.stat().st_size == right.stat().st_size and left.read_bytes() == right.read_bytes()


def folder_of(origin: Origin, root: Path) -> Path:
    """Return the folder from which the project's name of the source is found before anything is copied."""
    return next(iter(origin.copies.values())).parent if origin.copies else root

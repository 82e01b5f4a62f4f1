"""Which files ``ingest.source`` and the sources of given parts name, and whether they may be read together."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from secateur.errors import DataError
from secateur.sources.locations import Location, expand, is_braced, locate

PARTS = ("train", "validation", "test")
_SOURCE = "ingest.source"
_HELD_OUT = {
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "held", "heldout", "holdout"), "test"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "validation"),
}


def files_of(
    source: str,
    given: Mapping[str, str] | None = None,
    *,
    root: Path | None = None,
    at: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, list[Location]]:
    """Find the files of a source and those of the rows that were given to judge.

    Args:
        source: as ``locate`` takes it; braces, a folder or a pattern name several.
        given: name of a part (validation, test) -> the same, of local files.
        root: folder that relative paths start from; the current one by default.
        at: where the files of each part are, when the caller knows.

    Returns:
        The files of ``train`` and of each given part, in the order in which their rows are counted.

    Raises:
        DataError: nothing is there, some of the files were kept apart from others, or two cannot stand side by side.
    """
    asked = {"train": source} | {part: (given or {})[part] for part in PARTS if part in (given or {})}
    places = {part: _files(part, name, root=root, at=(at or {}).get(part, ())) for part, name in asked.items()}
    seen: dict[Path | str, str] = {}
    for part, found in places.items():
        counts = Counter(place.file_name for place in found if place.kind != "hub")
        if twice := [name for name, count in counts.items() if count > 1]:
            raise DataError(
                f"{parameter_of(part)} names two files {twice[0]}; names must differ, as labels may come from them"
            )
        here = {
            place.path.resolve() if place.path is not None else place.name: place.name
            for place in found
            if place.kind != "hub"
        }
        if both := [path for path in here if path in seen]:
            raise DataError(
                f"{parameter_of(part)} names {here[both[0]]}, which {parameter_of(seen[both[0]])} names too: its rows "
                f"cannot both {_does(seen[both[0]])} and {_does(part)}; what is not given is split from the source"
            )
        seen |= dict.fromkeys(here, part)
    return places


def parameter_of(part: str) -> str:
    """Return the parameter that names the files of a part."""
    return _SOURCE if part == "train" else f"ingest.{part}_source"


def require_file(location: Location, path: Path) -> None:
    """Refuse a folder and an empty file.

    Raises:
        DataError: saying which of them it is.
    """
    if path.is_dir():
        held = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        values = [p.name for p in path.iterdir() if p.is_dir() and "=" in p.name]
        tip = (
            f"folders such as {min(values)} say the value of a column that their files lack: write one table with it"
            if values
            else "where each text is a file in the folder of its label, write them into one CSV of texts and labels"
            if {inside.is_dir() for inside in path.iterdir()} == {True}
            else "name one file in it, or have files of one format there"
        )
        raise DataError(f"{location.asked_by}={location.name} is a folder (it holds {held}); {tip}")
    if path.stat().st_size == 0:
        raise DataError(f"{location.asked_by}={location.name} is empty (0 bytes)")


def _files(part: str, source: str, *, root: Path | None, at: Sequence[Path]) -> list[Location]:
    asked_by = parameter_of(part)
    names = _names(source, root=root, at=at)
    if part == "train":
        _check_one_part(names)
    places: Sequence[Path | None] = at or [None] * len(names)
    found = [
        locate(name, asked_by=asked_by, root=root, at=place, addresses=True)
        for name, place in zip(names, places, strict=True)
    ]
    if part != "train" and any(location.kind in ("hub", "database") for location in found):
        raise DataError(f"{asked_by}: there is no file {source!r}; {part} rows are local files, or have an address")
    if "address" in (kinds := {location.kind for location in found}) and len(kinds) > 1:
        raise DataError(f"{asked_by} names files here and addresses; name some of one sort, or fetch the others")
    return found


def _names(source: str, *, root: Path | None, at: Sequence[Path]) -> list[str]:
    """Return the names of a source's files; those of a folder or a pattern follow from where its files are."""
    if not at or is_braced(source):
        return expand(source, root=root)
    names = [path.name for path in at]
    return [source] if names == [Path(source).name] else names


def _does(part: str) -> str:
    return {"train": "train", "validation": "validate", "test": "test"}[part]


def _check_one_part(names: Sequence[str]) -> None:
    """Refuse files that are read as one and whose names, or folders, say that some were kept apart.

    Raises:
        DataError: naming such a file and what would work.
    """
    words = {name: re.split(r"[^a-z]+", name.lower()) for name in names}
    apart = [name for name in names if not _HELD_OUT.keys().isdisjoint(words[name])]
    if apart and len(apart) < len(names):
        rest = ", ".join(name for name in names if name not in apart)
        part = next(_HELD_OUT[word] for word in words[apart[0]] if word in _HELD_OUT)
        raise DataError(
            f"{_SOURCE} names {apart[0]} beside {rest}: its rows would train the model; leave it out, and give them "
            f"as {parameter_of(part)}={apart[0]}"
        )

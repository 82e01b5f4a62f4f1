"""Which files ``ingest.source`` and ``ingest.test_source`` name, and whether they may be read together."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from secateur.data.sources import Location, expand, locate
from secateur.errors import DataError

TEST = "ingest.test_source"
_SOURCE = "ingest.source"
_HELD_OUT = frozenset(
    {"test", "testing", "dev", "val", "valid", "validation", "eval", "evaluation", "held", "heldout", "holdout"}
)


def files_of(
    source: str,
    test_source: str | None = None,
    *,
    root: Path | None = None,
    at: Sequence[Path] = (),
    test_at: Sequence[Path] = (),
) -> tuple[list[Location], list[Location]]:
    """Find the files of a source and those of the test rows.

    Args:
        source: as ``locate`` takes it; braces name several.
        test_source: the same, of local files; None for none.
        root: folder that relative paths start from; the current one by default.
        at: where the files of the source are, when the caller knows.
        test_at: where those of the test rows are.

    Raises:
        DataError: nothing is there, some of the files were kept apart from others, or two cannot stand side by side.
    """
    names = expand(source)
    _check_one_part(names)
    known: Sequence[Path | None] = at or [None] * len(names)
    places = [locate(name, root=root, at=place) for name, place in zip(names, known, strict=True)]
    tests = [] if test_source is None else _test_files(test_source, root=root, at=test_at)
    for found in (places, tests):
        counts = Counter(place.path.name for place in found if place.path is not None)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise DataError(
                f"{found[0].asked_by} names two files {twice[0]}; names must differ, as labels may come from them"
            )
    learned = {place.path.resolve() for place in places if place.path is not None}
    if both := [place.name for place in tests if place.path is not None and place.path.resolve() in learned]:
        raise DataError(
            f"{TEST} names {both[0]}, which {_SOURCE} names too: its rows cannot both train and test; without {TEST} a "
            "share of the rows tests (clean.test_fraction)"
        )
    return places, tests


def require_file(location: Location, path: Path) -> None:
    """Refuse a folder and an empty file.

    Raises:
        DataError: saying which of them it is.
    """
    if path.is_dir():
        held = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise DataError(f"{location.asked_by}={location.name} is a folder (it holds {held}); name one file in it")
    if path.stat().st_size == 0:
        raise DataError(f"{location.asked_by}={location.name} is empty (0 bytes)")


def _test_files(source: str, *, root: Path | None, at: Sequence[Path]) -> list[Location]:
    names = expand(source)
    places: Sequence[Path | None] = at or [None] * len(names)
    found = [locate(name, asked_by=TEST, root=root, at=place) for name, place in zip(names, places, strict=True)]
    if any(location.path is None for location in found):
        raise DataError(f"{TEST}: there is no file {source!r}; test rows are local files")
    return found


def _check_one_part(names: Sequence[str]) -> None:
    """Refuse files that are read as one and whose names, or folders, say that some were kept apart.

    Raises:
        DataError: naming such a file and what would work.
    """
    apart = [name for name in names if _HELD_OUT & set(re.split(r"[^a-z]+", name.lower()))]
    if apart and len(apart) < len(names):
        rest = ", ".join(name for name in names if name not in apart)
        raise DataError(
            f"{_SOURCE} names {apart[0]} beside {rest}: its rows would train the model; leave it out, and give "
            f"the rows that test as {TEST}={apart[0]}"
        )

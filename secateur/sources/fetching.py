"""Files at addresses (``https://...``, ``s3://...``), fetched once into a folder of the project, by fsspec.

What was read is what counts: a file is kept under its digest, beside a note of how the address described it (ETag,
time, size). Where it still describes it so, nothing is fetched again.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from secateur.errors import DataError
from secateur.files import free_bytes, remove, sha256_file, shown_bytes, sync, write_json
from secateur.sources.locations import Location
from secateur.sources.remote import Remote, explained, look

FETCHED = "fetched"
"""Folder in the state of a project."""

_log = logging.getLogger(__name__)
_PART = ".part-"
_LEFT_FREE_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Fetched:
    """A file that is here.

    Attributes:
        path: of the copy.
        sha256: of its bytes.
        is_new: it was fetched just now, rather than found unchanged.
    """

    path: Path
    sha256: str
    is_new: bool


@dataclass(frozen=True)
class _Note:
    """What is known of the file that an address gave last."""

    address: str
    file: str
    sha256: str
    bytes: int
    marks: Mapping[str, str]


def fetch(location: Location, *, into: Path, wanted: str | None = None, alone: bool = True) -> Fetched:
    """Return the file at an address: the copy that is here where the address still describes that, else a new one.

    A copy appears as a whole or not at all. Nothing that is told or written holds what the environment put in.

    Args:
        location: of kind ``address``.
        into: the folder for copies.
        wanted: the digest that the file must have; where a copy has it, nobody is asked.
        alone: whether a digest could be wanted of it.

    Raises:
        DataError: it cannot be had, is not all there, or is not what is wanted; one line that says why.
    """
    before = _note(into, location)
    if wanted is not None and (copy := _copy(into, location, wanted)).is_file() and sha256_file(copy) == wanted:
        return Fetched(copy, wanted, is_new=False)
    tip = f"; ingest.sha256={before.sha256} goes on with the copy that was fetched before" if before and alone else ""
    with explained(location, tip=tip):
        remote = look(location)
        if before is not None and _is_same(remote, before) and (copy := _copy(into, location, before.sha256)).is_file():
            found = Fetched(copy, before.sha256, is_new=False)
        else:
            found = _download(location, remote, into=into)
    if wanted is not None and found.sha256 != wanted:
        raise DataError(
            f"{location.asked_by}={location.name} is another file than ingest.sha256 says: its sha256 is {found.sha256}"
        )
    return found


def brought(
    places: Mapping[str, Sequence[Location]], *, into: Path, wanted: str | None = None
) -> dict[str, list[Location]]:
    """Return the places of all files with those that have an address fetched; copies of other addresses go.

    Args:
        places: name of a part -> its files.
        into: the folder for copies.
        wanted: the digest that the one file of ``train`` must have.

    Raises:
        DataError: one cannot be had, or a copy is damaged.
    """
    if wanted is not None and len(places["train"]) > 1:
        raise DataError(f"ingest.sha256 is that of one file, and ingest.source names {len(places['train'])}")
    found: dict[str, list[Location]] = {}
    for part, locations in places.items():
        alone = part == "train" and len(locations) == 1
        found[part] = [
            _brought(location, into=into, wanted=wanted if alone else None, alone=alone)
            if location.kind == "address"
            else location
            for location in locations
        ]
    _forget_others(into, [place for locations in found.values() for place in locations if place.kind == "address"])
    return found


def _brought(location: Location, *, into: Path, wanted: str | None, alone: bool) -> Location:
    """Fetch one file, and refuse a copy that was changed behind our back."""
    fetched = fetch(location, into=into, wanted=wanted, alone=alone)
    if not fetched.is_new and sha256_file(fetched.path) != fetched.sha256:
        remove(fetched.path.parent)
        raise DataError(
            f"{location.asked_by}={location.name}: the copy that was fetched before is damaged, and was removed; run "
            "again, and it is fetched anew"
        )
    return replace(location, path=fetched.path)


def _forget_others(into: Path, locations: Sequence[Location]) -> None:
    """Remove the copies that none of these addresses gave last, and what a killed process has left of one."""
    notes = [note for location in locations if (note := _note(into, location)) is not None]
    kept = {note.sha256 for note in notes} | {_note_file(into, location).name for location in locations}
    kept |= {location.path.parent.name for location in locations if location.path is not None}
    for entry in into.iterdir() if into.is_dir() else ():
        if entry.name not in kept and not _is_being_written(entry):
            remove(entry)


def _is_being_written(entry: Path) -> bool:
    number = entry.name.removeprefix(_PART).partition("-")[0]
    return entry.name.startswith(_PART) and number.isdigit() and Path(f"/proc/{number}").exists()


def _copy(into: Path, location: Location, digest: str) -> Path:
    return into / digest / str(location.file_name)


def _note_file(into: Path, location: Location) -> Path:
    return into / f"{sha256(location.name.encode()).hexdigest()[:16]}.json"


def _note(into: Path, location: Location) -> _Note | None:
    try:
        note = _Note(**json.loads(_note_file(into, location).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # what may be deleted at any time may also be damaged
    return note if note.address == location.name else None


def _is_same(remote: Remote, note: _Note) -> bool:
    """Tell whether an address describes the file that it gave last; a size alone tells nothing."""
    return bool(remote.marks) and remote.marks == note.marks and remote.size in (None, note.bytes)


def _download(location: Location, remote: Remote, *, into: Path) -> Fetched:
    """Fetch a file beside the copies, and put it among them when all of it is here."""
    size = "of unknown size" if remote.size is None else shown_bytes(remote.size)
    _log.warning("%s is fetched (%s)", location.name, size)
    into.mkdir(parents=True, exist_ok=True)
    free = free_bytes(into)
    if remote.size is not None and remote.size + _LEFT_FREE_BYTES > free:
        raise DataError(f"{location.asked_by}={location.name} has {size}, and {shown_bytes(free)} are free here")
    with NamedTemporaryFile(dir=into, prefix=f"{_PART}{os.getpid()}-", delete=False) as file:
        part = Path(file.name)
    try:
        remote.copy_to(part)
        arrived = part.stat().st_size
        if remote.size is not None and arrived < remote.size:  # a server may say 0 where it was only asked
            raise DataError(
                f"{location.asked_by}={location.name}: {arrived} of {remote.size} bytes arrived, or it is being "
                "replaced; nothing was kept, run again"
            )
        digest = sha256_file(part)
        sync(part)
        copy = _copy(into, location, digest)
        copy.parent.mkdir(exist_ok=True)
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    note = _Note(location.name, copy.name, digest, arrived, remote.marks)
    write_json(_note_file(into, location), asdict(note))
    return Fetched(copy, digest, is_new=True)

"""Copying a source into the workspace, with a record of where it came from."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from secateur.data.assembly import Copied, Readable, checked, settled
from secateur.data.provenance import PROVENANCE, read_provenance
from secateur.errors import DataError
from secateur.files import sha256_file, sha256_files, write_json
from secateur.readers.database import write_answer
from secateur.readers.postgres import write_server_answer
from secateur.readers.reading import Reading
from secateur.readers.tables import encoding_for, format_of, read_rows
from secateur.sources.fetching import brought
from secateur.sources.locations import DATABASES, Location
from secateur.sources.source_files import PARTS, files_of, require_file

_HUB_FILE = "rows.parquet"


@dataclass(frozen=True)
class HubSelection:
    """Which part of a hub dataset is meant."""

    config: str | None
    split: str
    revision: str | None


@dataclass(frozen=True)
class Copies:
    """Files that came from addresses.

    Attributes:
        folder: where they are kept; None keeps none.
        sha256: the digest that the file of the source must have.
    """

    folder: Path | None = None
    sha256: str | None = None


def check_rows(
    source: str,
    reading: Reading,
    *,
    given: Mapping[str, str] | None = None,
    root: Path | None = None,
    min_labels: int = 2,
    look: Callable[[pa.Table], None] | None = None,
) -> Copied | None:
    """Read a local source once and check that a model can be trained on it; no network, so no address.

    Args:
        source: as ``ingest.source``.
        reading: how it is read.
        given: name of a part -> source of the rows that were given to judge.
        root: folder that relative paths start from; the current one by default.
        min_labels: different labels that there must be.
        look: gets the rows before their labels are checked, and may refuse them.

    Returns:
        What was read; None for a hub dataset and an address, which are not here.

    Raises:
        DataError: one line that says what is wrong with the source and what would work.
    """
    read = {
        part: [_read(place, place.path, reading) for place in places if place.path is not None]
        for part, places in files_of(source, given, root=root).items()
    }
    if not read["train"]:
        return None
    found = settled(read, reading)
    if look is not None:
        look(found.rows)
    files = [file.file for file in read["train"]]
    return checked(found, reading, files=files, given=given or (), min_labels=min_labels)


def read_source(source: str, reading: Reading, *, root: Path | None) -> pa.Table | None:
    """Read a local or package source where it lies, all its files together; None for what comes from elsewhere.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    read = [
        _read(place, place.path, reading) for place in files_of(source, root=root)["train"] if place.path is not None
    ]
    return settled({"train": read}, reading).rows if read else None


def copy_rows(
    source: str,
    reading: Reading,
    *,
    hub: HubSelection,
    out: Path,
    at: Mapping[str, Sequence[Path]] | None = None,
    given: Mapping[str, str] | None = None,
    min_labels: int = 2,
    copies: Copies | None = None,
) -> dict[str, Any]:
    """Copy a source unchanged into the folder ``out`` and write ``provenance.json`` beside it.

    ``at`` is where the files of each part are, when that is known, ``given`` as in ``check_rows``, and ``copies`` where
    files of addresses are kept. A hub dataset arrives as one Parquet file. The record holds no time and no absolute
    path, so that the same source gives the same bytes.

    Returns:
        The record: kind, source, file, format, encoding, sha256, bytes; package, version, licence or hub commit. For
        several files ``files`` has the entries of each, sha256 is that of all their bytes and bytes their sum;
        ``validation`` and ``test`` have the entries of the rows that were given, ``remarks`` what a person should know.

    Raises:
        DataError: as ``check_rows``; or the hub or an address does not give it out.
    """
    with TemporaryDirectory() as passing:
        copies = copies or Copies()
        places = brought(files_of(source, given, at=at), into=copies.folder or Path(passing), wanted=copies.sha256)
        return _copy_rows(source, places, reading, hub=hub, out=out, min_labels=min_labels)


def _copy_rows(
    source: str,
    places: Mapping[str, Sequence[Location]],
    reading: Reading,
    *,
    hub: HubSelection,
    out: Path,
    min_labels: int,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    read: dict[str, list[Readable]] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    origins: list[dict[str, Any]] = []
    for part, locations in places.items():
        taken = {file.file for files in read.values() for file in files}
        names = {location.path.name for location in locations if location.path is not None}
        # A folder of their own, when one of them is called like a file of another part.
        beside = out / part if taken & names else out
        fetched = [(location, *_fetch(location, reading, hub=hub, out=beside)) for location in locations]
        read[part] = [
            _read(location, path, reading if _is_copy(location, path) else _as_written(reading, path))
            for location, path, _ in fetched
        ]
        entries[part] = [_entry(file, path, out=out) for file, (_, path, _) in zip(read[part], fetched, strict=True)]
        origins += [origin for *_, origin in fetched]
    files = [file.file for file in read["train"]]
    remarks = checked(settled(read, reading), reading, files=files, min_labels=min_labels).remarks
    location, learned = places["train"][0], entries.pop("train")
    record = {"kind": location.kind, "source": location.name, **origins[0]}
    if len(learned) == 1:
        record |= learned[0]
    else:
        digest = sha256_files([out / file for file in files])
        whole = {"sha256": digest, "bytes": sum(entry["bytes"] for entry in learned)}
        record |= {"source": source, "files": learned, **whole}
    record |= entries | ({"remarks": list(remarks)} if remarks else {})
    write_json(out / PROVENANCE, record)
    return record


def read_copied(folder: Path, reading: Reading) -> Copied:
    """Read what ``copy_rows`` has copied.

    Raises:
        DataError: the folder has no record, or a file cannot be read.
    """
    record = read_provenance(folder)
    entries = {"train": record.get("files", [record])} | {part: record[part] for part in PARTS[1:] if part in record}
    read = {part: [_read_entry(folder, entry, reading) for entry in files] for part, files in entries.items()}
    return settled(read, reading)


def _read_entry(folder: Path, entry: dict[str, Any], reading: Reading) -> Readable:
    found = read_rows(
        folder / entry["file"],
        file_format=entry["format"],
        encoding=entry["encoding"],
        columns=reading.columns,
        layout=reading.layout,
    )
    return Readable(entry["file"], entry["format"], entry["encoding"], found)


def _entry(part: Readable, path: Path, *, out: Path) -> dict[str, Any]:
    return {
        "file": path.relative_to(out).as_posix(),
        "format": part.file_format,
        "encoding": part.encoding,
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
    }


def digest_of(files: Sequence[Path], reading: Reading) -> str:
    """Return the sha256 that the record of ``copy_rows`` would have of local files.

    Raises:
        DataError: a database does not answer.
    """
    with TemporaryDirectory() as folder:
        if reading.layout.query is not None:
            files = [_answer(file, reading, out=Path(folder)) for file in files]
        return sha256_file(files[0]) if len(files) == 1 else sha256_files(list(files))


def digest_of_answer(location: Location, reading: Reading) -> str:
    """Return the sha256 that the record of ``copy_rows`` would have of what a server answers.

    Raises:
        DataError: it does not answer.
    """
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.jsonl"
        write_server_answer(location, reading.layout.query, columns=reading.columns, out=answer)
        return sha256_file(answer)


def _answer(path: Path, reading: Reading, *, out: Path) -> Path:
    """Write what a database answers; its other rows are nobody's business."""
    answer = out / f"{path.name}.jsonl"
    write_answer(path, reading.layout.query, columns=reading.columns, out=answer)
    return answer


def _is_copy(location: Location, path: Path) -> bool:
    """Tell whether a file is what the user has, and not what was written of a hub's dataset or a database's answer."""
    return location.path is not None and path.name == location.path.name


def _as_written(reading: Reading, path: Path) -> Reading:
    layout = replace(reading.layout, query=None)
    return replace(reading, file_format=format_of(path, "auto"), encoding="auto", layout=layout)


def _fetch(location: Location, reading: Reading, *, hub: HubSelection, out: Path) -> tuple[Path, dict[str, Any]]:
    """Bring the bytes into ``out``; return the file and what is known about its origin."""
    if location.path is not None:
        require_file(location, location.path)
        out.mkdir(parents=True, exist_ok=True)
        if format_of(location.path, reading.file_format) in DATABASES:
            return _answer(location.path, reading, out=out), location.origin
        copied = out / location.path.name
        shutil.copyfile(location.path, copied)
        return copied, location.origin
    if location.kind == "database":
        out.mkdir(parents=True, exist_ok=True)
        answer = out / str(location.file_name)
        write_server_answer(location, reading.layout.query, columns=reading.columns, out=answer)
        return answer, {}
    if reading.layout.query is not None:
        raise DataError(f"ingest.query asks a database, and {location.name} is a hub dataset; leave it out")
    from secateur.sources.hub import download_rows

    copied = out / _HUB_FILE
    commit = download_rows(location.name, config=hub.config, split=hub.split, revision=hub.revision, out=copied)
    return copied, {"revision": commit, "config": hub.config, "split": hub.split}


def _read(location: Location, path: Path, reading: Reading) -> Readable:
    require_file(location, path)
    table_format = format_of(path, reading.file_format)
    decided = encoding_for(path, table_format, asked=reading.encoding, kind=location.kind, query=reading.layout.query)
    found = read_rows(path, file_format=table_format, encoding=decided, columns=reading.columns, layout=reading.layout)
    return Readable(path.name, table_format, decided, found)

"""Copying a source into the workspace, with a record of where it came from."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from secateur.data.compression import require_text
from secateur.data.encodings import encoding_of
from secateur.data.label_spelling import settle_labels
from secateur.data.labels import MIN_ROWS_PER_LABEL, require_classes
from secateur.data.layout import Found
from secateur.data.provenance import PROVENANCE, read_provenance
from secateur.data.reading import Reading
from secateur.data.source_files import TEST, files_of, require_file
from secateur.data.sources import Location
from secateur.data.tables import TableFormat, format_of, read_rows
from secateur.errors import DataError
from secateur.files import sha256_file, sha256_files, write_json

_HUB_FILE = "rows.parquet"
_TEST_FOLDER = "test"
"""Where the files of the test rows lie when one of them is called like a file of the source."""


@dataclass(frozen=True)
class HubSelection:
    """Which part of a hub dataset is meant."""

    config: str | None
    split: str
    revision: str | None


@dataclass(frozen=True)
class Readable:
    """A local file that was read from end to end without a problem."""

    file: str
    file_format: TableFormat
    encoding: str | None
    found: Found


@dataclass(frozen=True)
class Copied:
    """What ``copy_rows`` has copied.

    Attributes:
        rows: columns ``text``, ``label``, ``confidence``, ``row``, which counts through all files.
        test: those that were given as test rows; None where there are none.
        remarks: what a person should know about them.
    """

    rows: pa.Table
    test: pa.Table | None
    remarks: tuple[str, ...]


def check_rows(
    source: str,
    reading: Reading,
    *,
    test_source: str | None = None,
    root: Path | None = None,
    min_labels: int = 2,
) -> Copied | None:
    """Read a local source once and check that a model can be trained on it; no network.

    Returns:
        What was read; None for a hub dataset, which is not here.

    Raises:
        DataError: one line that says what is wrong with the source and what would work.
    """
    places, test_places = files_of(source, test_source, root=root)
    read = [_read(place, place.path, reading) for place in places if place.path is not None]
    test = [_read(place, place.path, reading) for place in test_places if place.path is not None]
    return _together(read, test, reading, min_labels=min_labels) if read else None


def read_source(source: str, reading: Reading, *, root: Path | None) -> pa.Table | None:
    """Read a local or package source where it lies, all its files together; None for a hub dataset.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    read = [_read(place, place.path, reading) for place in files_of(source, root=root)[0] if place.path is not None]
    return _settled(read, [], reading).rows if read else None


def copy_rows(
    source: str,
    reading: Reading,
    *,
    hub: HubSelection,
    out: Path,
    at: Sequence[Path] = (),
    test_source: str | None = None,
    test_at: Sequence[Path] = (),
    min_labels: int = 2,
) -> dict[str, Any]:
    """Copy a source unchanged into the folder ``out`` and write ``provenance.json`` beside it.

    ``at`` is where the files of a local source are, when that is known, and ``test_at`` those of the test rows. A hub
    dataset arrives as one Parquet file. The record holds no time and no absolute path, so that the same source gives
    the same bytes.

    Returns:
        The record: kind, source, file, format, encoding, sha256, bytes; package, version, licence or hub commit. For
        several files ``files`` has the entries of each, sha256 is that of all their bytes and bytes their sum;
        ``test`` has the entries of the test rows, ``remarks`` what a person should know.

    Raises:
        DataError: as ``check_rows``; or the hub does not give the dataset out.
    """
    locations, test_locations = files_of(source, test_source, at=at, test_at=test_at)
    out.mkdir(parents=True, exist_ok=True)
    fetched = [_fetch(location, hub=hub, out=out) for location in locations]
    taken = {path.name for path, _ in fetched} & {place.path.name for place in test_locations if place.path is not None}
    beside = out / _TEST_FOLDER if taken else out
    fetched += [_fetch(location, hub=hub, out=beside) for location in test_locations]
    copied, origins = [path for path, _ in fetched], [origin for _, origin in fetched]
    read = [
        _read(location, path, reading if location.path else replace(reading, file_format="parquet"))
        for location, path in zip((*locations, *test_locations), copied, strict=True)
    ]
    remarks = _together(read[: len(locations)], read[len(locations) :], reading, min_labels=min_labels).remarks
    record = {"kind": locations[0].kind, "source": locations[0].name, **origins[0]}
    entries = [_entry(part, path, out=out) for part, path in zip(read, copied, strict=True)]
    entries, test_entries = entries[: len(locations)], entries[len(locations) :]
    if len(entries) == 1:
        record |= entries[0]
    else:
        whole = {"sha256": sha256_files(copied[: len(entries)]), "bytes": sum(entry["bytes"] for entry in entries)}
        record |= {"source": source, "files": entries, **whole}
    record |= ({"test": test_entries} if test_entries else {}) | ({"remarks": list(remarks)} if remarks else {})
    write_json(out / PROVENANCE, record)
    return record


def read_copied(folder: Path, reading: Reading) -> Copied:
    """Read what ``copy_rows`` has copied.

    Raises:
        DataError: the folder has no record, or a file cannot be read.
    """
    record = read_provenance(folder)

    def read(entries: Sequence[dict[str, Any]]) -> list[Readable]:
        return [_read_entry(folder, entry, reading) for entry in entries]

    return _settled(read(record.get("files", [record])), read(record.get("test", [])), reading)


def _read_entry(folder: Path, entry: dict[str, Any], reading: Reading) -> Readable:
    found = read_rows(
        folder / entry["file"],
        file_format=entry["format"],
        encoding=entry["encoding"],
        columns=reading.columns,
        layout=reading.layout,
    )
    return Readable(entry["file"], entry["format"], entry["encoding"], found)


def _settled(read: Sequence[Readable], test: Sequence[Readable], reading: Reading) -> Copied:
    """Put all files together, and settle the labels of all rows at once."""
    rows = pa.concat_tables([part.found.rows for part in (*read, *test)], promote_options="permissive")
    rows = rows.set_column(rows.schema.get_field_index("row"), "row", pa.array(range(rows.num_rows), pa.int64()))
    remarks = [remark for part in (*read, *test) for remark in part.found.remarks]
    if reading.columns.label is not None:
        settled = settle_labels(rows, reading.labels, column=reading.columns.label)
        rows, remarks = settled.rows, [*remarks, *settled.remarks]
    num_train = sum(part.found.rows.num_rows for part in read)
    return Copied(rows.slice(0, num_train), rows.slice(num_train) if test else None, tuple(remarks))


def _together(read: Sequence[Readable], test: Sequence[Readable], reading: Reading, *, min_labels: int) -> Copied:
    """Check the labels of all files together; they are needed only where there is a column of them."""
    settled = _settled(read, test, reading)
    column = reading.columns.label
    if column is None:
        return settled
    labels = settled.rows["label"].to_pylist()
    require_classes(
        labels,
        when=f"in column {column!r} of {', '.join(part.file for part in read)}",
        remedy="check ingest.label_column, or add rows",
        min_labels=min_labels,
        min_rows=MIN_ROWS_PER_LABEL - bool(test),
    )
    if settled.test is not None:
        unknown = sorted(set(settled.test["label"].drop_null().to_pylist()) - set(labels))
        if unknown:
            raise DataError(
                f"{TEST} has labels that no row of ingest.source has: {', '.join(unknown[:10])}; a model cannot "
                "learn them"
            )
    return settled


def _entry(part: Readable, path: Path, *, out: Path) -> dict[str, Any]:
    return {
        "file": path.relative_to(out).as_posix(),
        "format": part.file_format,
        "encoding": part.encoding,
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
    }


def _fetch(location: Location, *, hub: HubSelection, out: Path) -> tuple[Path, dict[str, Any]]:
    """Bring the bytes into ``out``; return the file and what is known about its origin."""
    if location.path is not None:
        require_file(location, location.path)
        out.mkdir(parents=True, exist_ok=True)
        copied = out / location.path.name
        shutil.copyfile(location.path, copied)
        return copied, location.origin
    from secateur.data.hub import download_rows

    copied = out / _HUB_FILE
    commit = download_rows(location.name, config=hub.config, split=hub.split, revision=hub.revision, out=copied)
    return copied, {"revision": commit, "config": hub.config, "split": hub.split}


def _read(location: Location, path: Path, reading: Reading) -> Readable:
    require_file(location, path)
    table_format = format_of(path, reading.file_format)
    decided = None
    if table_format != "parquet":
        require_text(path)
        decided = encoding_of(path, asked=reading.encoding, kind=location.kind)
    found = read_rows(path, file_format=table_format, encoding=decided, columns=reading.columns, layout=reading.layout)
    return Readable(path.name, table_format, decided, found)

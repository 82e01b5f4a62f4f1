"""Copying a source into the workspace, with a record of where it came from."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from secateur.config.run import Task
from secateur.data.encodings import encoding_of
from secateur.data.labels import require_classes
from secateur.data.provenance import PROVENANCE, read_provenance
from secateur.data.sources import Location, expand, locate
from secateur.data.tables import Columns, TableFormat, format_of, read_rows
from secateur.errors import DataError
from secateur.files import sha256_file, sha256_files, write_json

_HUB_FILE = "rows.parquet"


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
    rows: pa.Table


def check_rows(
    source: str,
    *,
    file_format: str,
    encoding: str,
    columns: Columns,
    root: Path | None = None,
    task: Task = "classification",
) -> None:
    """Read a local source once and check that a model can be trained on it; no network.

    Raises:
        DataError: one line that says what is wrong with the source and what would work.
    """
    locations = [locate(part, root=root) for part in expand(source)]
    read = [
        _read(location, location.path, file_format=file_format, encoding=encoding, columns=columns)
        for location in locations
        if location.path is not None
    ]
    if read:
        _require_labels(read, columns=columns, task=task)


def read_source(
    source: str, *, file_format: str, encoding: str, columns: Columns, root: Path | None
) -> pa.Table | None:
    """Read a local or package source where it lies, all its files together; None for a hub dataset.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    locations = [locate(part, root=root) for part in expand(source)]
    read = [
        _read(location, location.path, file_format=file_format, encoding=encoding, columns=columns).rows
        for location in locations
        if location.path is not None
    ]
    return pa.concat_tables(read, promote_options="permissive") if read else None


def copy_rows(
    source: str,
    *,
    file_format: str,
    encoding: str,
    columns: Columns,
    hub: HubSelection,
    out: Path,
    at: Sequence[Path] = (),
    task: Task = "classification",
) -> dict[str, Any]:
    """Copy a source unchanged into the folder ``out`` and write ``provenance.json`` beside it.

    ``at`` is where the files of a local source are, when that is known. A hub dataset arrives as one Parquet file. The
    record holds no time and no absolute path, so that the same source gives the same bytes.

    Returns:
        The record: kind, source, file, format, encoding, sha256, bytes; package, version, licence or hub commit. For
        several files ``files`` has the entries of each, sha256 is that of all their bytes and bytes their sum.

    Raises:
        DataError: as ``check_rows``; or the hub does not give the dataset out.
    """
    names = expand(source)
    places: Sequence[Path | None] = at or [None] * len(names)
    locations = [locate(name, at=place) for name, place in zip(names, places, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    copied, origins = zip(*(_fetch(location, hub=hub, out=out) for location in locations), strict=True)
    read = [
        _read(
            location,
            path,
            file_format="parquet" if location.path is None else file_format,
            encoding=encoding,
            columns=columns,
        )
        for location, path in zip(locations, copied, strict=True)
    ]
    _require_labels(read, columns=columns, task=task)
    record = {"kind": locations[0].kind, "source": locations[0].name, **origins[0]}
    entries = [_entry(part, path) for part, path in zip(read, copied, strict=True)]
    if len(entries) == 1:
        record |= entries[0]
    else:
        whole = {"sha256": sha256_files(copied), "bytes": sum(entry["bytes"] for entry in entries)}
        record |= {"source": source, "files": entries, **whole}
    write_json(out / PROVENANCE, record)
    return record


def read_copied(folder: Path, columns: Columns) -> pa.Table:
    """Read what ``copy_rows`` has copied, as ``tables.read_rows`` does; ``row`` counts through all files.

    Raises:
        DataError: the folder has no record, or a file cannot be read.
    """
    record = read_provenance(folder)
    tables = [
        read_rows(folder / entry["file"], file_format=entry["format"], encoding=entry["encoding"], columns=columns)
        for entry in record.get("files", [record])
    ]
    rows = pa.concat_tables(tables, promote_options="permissive")
    return rows.set_column(rows.schema.get_field_index("row"), "row", pa.array(range(rows.num_rows), pa.int64()))


def _entry(part: Readable, path: Path) -> dict[str, Any]:
    return {
        "file": part.file,
        "format": part.file_format,
        "encoding": part.encoding,
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
    }


def _fetch(location: Location, *, hub: HubSelection, out: Path) -> tuple[Path, dict[str, Any]]:
    """Bring the bytes into ``out``; return the file and what is known about its origin."""
    if location.path is not None:
        _require_file(location, location.path)
        copied = out / location.path.name
        if copied.exists():
            raise DataError(f"ingest.source names two files {copied.name}; names must differ, as labels come from them")
        shutil.copyfile(location.path, copied)
        return copied, location.origin
    from secateur.data.hub import download_rows

    copied = out / _HUB_FILE
    commit = download_rows(location.name, config=hub.config, split=hub.split, revision=hub.revision, out=copied)
    return copied, {"revision": commit, "config": hub.config, "split": hub.split}


def _require_file(location: Location, path: Path) -> None:
    if path.is_dir():
        held = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise DataError(f"ingest.source={location.name} is a folder (it holds {held}); name one file in it")
    if path.stat().st_size == 0:
        raise DataError(f"ingest.source={location.name} is empty (0 bytes)")


def _read(location: Location, path: Path, *, file_format: str, encoding: str, columns: Columns) -> Readable:
    _require_file(location, path)
    table_format = format_of(path, file_format)
    decided = None
    if table_format != "parquet":
        decided = encoding_of(path, asked=encoding, kind=location.kind)
    rows = read_rows(path, file_format=table_format, encoding=decided, columns=columns)
    return Readable(path.name, table_format, decided, rows)


def _require_labels(read: Sequence[Readable], *, columns: Columns, task: Task) -> None:
    """Check the labels of all files together; a generator needs them only where it has a column of them."""
    if columns.label is None:
        return
    require_classes(
        [label for part in read for label in part.rows["label"].to_pylist()],
        when=f"in column {columns.label!r} of {', '.join(part.file for part in read)}",
        remedy="check ingest.label_column, or add rows",
        task=task,
    )

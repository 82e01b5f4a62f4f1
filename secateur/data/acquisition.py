"""Copying a source into the workspace, with a record of where it came from."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from secateur.data.encodings import encoding_of
from secateur.data.labels import require_classes
from secateur.data.provenance import PROVENANCE
from secateur.data.sources import Location, locate
from secateur.data.tables import Columns, TableFormat, format_of, read_rows
from secateur.errors import DataError
from secateur.files import sha256_file, write_json

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

    file_format: TableFormat
    encoding: str | None
    rows: pa.Table


def check_rows(source: str, *, file_format: str, encoding: str, columns: Columns, root: Path | None = None) -> None:
    """Read a local source once and check that a classifier can be trained on it; no network.

    Raises:
        DataError: one line that says what is wrong with the source and what would work.
    """
    location = locate(source, root=root)
    if location.path is not None:
        _read(location, location.path, file_format=file_format, encoding=encoding, columns=columns)


def copy_rows(
    source: str,
    *,
    file_format: str,
    encoding: str,
    columns: Columns,
    hub: HubSelection,
    out: Path,
    at: Path | None = None,
) -> dict[str, Any]:
    """Copy a source unchanged into the folder ``out`` and write ``provenance.json`` beside it.

    ``at`` is where a local source is, when that is known. A hub dataset arrives as one Parquet file. The record
    holds no time and no absolute path, so that the same source gives the same bytes.

    Returns:
        The record: kind, source, file, format, encoding, sha256, bytes; package, version, licence or hub commit.

    Raises:
        DataError: as ``check_rows``; or the hub does not give the dataset out.
    """
    location = locate(source, at=at)
    out.mkdir(parents=True, exist_ok=True)
    copied, origin = _fetch(location, hub=hub, out=out)
    asked_format = "parquet" if location.path is None else file_format
    read = _read(location, copied, file_format=asked_format, encoding=encoding, columns=columns)
    record = {
        "kind": location.kind,
        "source": location.name,
        **origin,
        "file": copied.name,
        "format": read.file_format,
        "encoding": read.encoding,
        "sha256": sha256_file(copied),
        "bytes": copied.stat().st_size,
    }
    write_json(out / PROVENANCE, record)
    return record


def _fetch(location: Location, *, hub: HubSelection, out: Path) -> tuple[Path, dict[str, Any]]:
    """Bring the bytes into ``out``; return the file and what is known about its origin."""
    if location.path is not None:
        _require_file(location, location.path)
        copied = out / location.path.name
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
    require_classes(
        rows["label"].to_pylist(),
        when=f"in column {columns.label!r} of {path.name}",
        remedy="check ingest.label_column, or add rows",
    )
    return Readable(table_format, decided, rows)

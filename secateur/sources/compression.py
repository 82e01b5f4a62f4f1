"""Files that were packed by gzip, bzip2, xz, Zstandard or zip are read as what is inside them."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, cast

from secateur.errors import DataError
from secateur.files import LFS_POINTER

ENDINGS = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd", ".zip"})
"""Endings that stand behind the one that names the format: ``rows.csv.gz``."""

_GZIP, _BZIP2, _XZ, _ZSTANDARD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\x03\x04"
_OFFICE = "[Content_Types].xml"
_FOREIGN = {
    _ZIP: "is a zip archive in another archive; unpack it",
    **dict.fromkeys((_GZIP, _BZIP2, _XZ, _ZSTANDARD), "is packed twice; unpack it once"),
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook (or another Office file); set ingest.format=excel",
    b"7z\xbc\xaf": "is a 7-Zip archive; unpack it",
    b"%PDF": "is a PDF",
    b"SQLite format 3": "is an SQLite database; set ingest.format=sqlite, and ingest.query",
    b"\x89HDF": "is an HDF5 file; export the rows as CSV or Parquet",
    b"\x93NUMPY": "is a NumPy array; export the rows as CSV or Parquet",
    b"ARROW1": "is an Arrow or Feather file; write it as Parquet",
    b"Obj\x01": "is an Avro file; write it as Parquet",
    **dict.fromkeys(
        (b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"), "is a pickle of Python; write its rows as Parquet"
    ),
    b"$FL2": "is a file of SPSS; export the rows as CSV",
    b"<stata_dta>": "is a file of Stata; export the rows as CSV",
    b"<?xml": "is XML; export the rows as CSV or JSON",
    LFS_POINTER: "is a pointer of Git LFS, not the rows; git lfs pull fetches them",
    b"<!DOCTYPE": "is a web page; the address that it came from answered with it instead of the rows",
    b"<html": "is a web page; the address that it came from answered with it instead of the rows",
}
_PARQUET = b"PAR1"
_TAR, _TAR_AT = b"ustar", 257


def bare(path: PurePath) -> PurePath:
    """Return a name without the ending of a compression: ``rows.csv`` for ``rows.csv.gz``."""
    return path.with_suffix("") if path.suffix.lower() in ENDINGS else path


def name_inside(path: Path) -> PurePath:
    """Return the name of what is read: that of a zip archive's one file says its format, where its own does not.

    Raises:
        DataError: the archive holds no file, or several.
    """
    inside = bare(path)
    if path.suffix.lower() != ".zip" or inside.suffix:
        return inside
    with explained(path), zipfile.ZipFile(path) as archive:
        return PurePath(_only_file(archive, path).filename)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading what is inside it; its first bytes tell how it was packed, whatever it is called."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_GZIP):
        return cast(IO[bytes], gzip.open(path))
    if start.startswith(_BZIP2):
        return cast(IO[bytes], bz2.open(path))
    if start.startswith(_XZ):
        return cast(IO[bytes], lzma.open(path))
    if start.startswith(_ZSTANDARD):
        import pyarrow as pa  # stages are declared, and files looked at, without it

        return cast(IO[bytes], pa.input_stream(str(path), compression="zstd"))
    if start.startswith(_ZIP):
        archive = zipfile.ZipFile(path)
        return archive.open(_only_file(archive, path))
    return path.open("rb")


def _only_file(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    held = [entry for entry in archive.infolist() if not entry.is_dir() and _counts(entry.filename)]
    if any(entry.filename == _OFFICE for entry in held):
        raise DataError(f"{path.name} is an Excel workbook (or another Office file); set ingest.format=excel")
    if len(held) != 1:
        names = ", ".join(entry.filename for entry in held[:5]) or "nothing"
        raise DataError(f"{path.name} is a zip archive of {len(held)} files ({names}); one is read: unpack it")
    return held[0]


def _counts(name: str) -> bool:
    """Tell whether a file of an archive is one that somebody put there, and not a note of the system's."""
    return not name.startswith("__MACOSX/") and not PurePath(name).name.startswith(".")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what reading bytes raises into one line."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path.name} cannot be unpacked: {error or 'it ends too early'}; pack it anew") from error
    except RuntimeError as error:
        if "encrypted" not in str(error):
            raise
        raise DataError(f"{path.name} is encrypted; unpack it") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:120]
        raise DataError(f"{path.name} cannot be read: {reason}") from error


def require_text(path: Path) -> None:
    """Refuse files that are something else than the text that their name promises.

    Raises:
        DataError: saying what the file is.
    """
    with explained(path), open_bytes(path) as file:
        start = file.read(_TAR_AT + len(_TAR))
    if start[_TAR_AT:] == _TAR:
        raise DataError(f"{path.name} is a tar archive; unpack it")
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise DataError(f"{path.name} {what}")
    if start.startswith(_PARQUET):
        raise DataError(f"{path.name} is a Parquet file; set ingest.format=parquet")

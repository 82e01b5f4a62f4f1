"""Which encoding a text file has, decided by reading all of it once."""

import codecs
import io
from pathlib import Path
from typing import IO

from secateur.errors import DataError
from secateur.readers.compression import explained, open_bytes
from secateur.readers.sources import SourceKind

_CHUNK_BYTES = 1 << 22
_FALLBACK = "latin-1"


def encoding_of(path: Path, *, asked: str, kind: SourceKind) -> str:
    """Return the encoding to read ``path`` with, having decoded every byte of it.

    ``auto`` means what a byte order mark says, else UTF-8. A file that a package ships cannot be mended by its user,
    so one that is not UTF-8 is read as Latin-1, which maps every byte to one character; the repair rule of ``clean``
    does the rest.

    Raises:
        DataError: a byte does not decode; the message names it and its offset.
    """
    encoding = _marked(path) or "utf-8" if asked == "auto" else asked
    problem = _first_problem(path, encoding)
    if problem is None:
        return encoding
    if asked == "auto" and kind == "package":
        return _FALLBACK
    tip = (
        "convert the file, or set ingest.encoding (for instance cp1252, gb18030)"
        if asked == "auto"
        else "set ingest.encoding to the right one"
    )
    raise DataError(f"{path.name} is not {encoding.upper()}: {problem}; {tip}")


def open_text(raw: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Open bytes as text whose line ends stay as they are; a byte order mark of UTF-8 is no part of it."""
    return io.TextIOWrapper(raw, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")


def _first_problem(path: Path, encoding: str) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with explained(path), open_bytes(path) as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                where = offset - len(pending) + error.start
                return f"byte 0x{error.object[error.start]:02x} at offset {where}"
            except UnicodeError as error:
                return str(error)
            if not chunk:
                return None
            offset += len(chunk)


def _marked(path: Path) -> str | None:
    """Return the encoding that a byte order mark names; that of UTF-8 is left to the reader."""
    with explained(path), open_bytes(path) as file:
        start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None

"""Which encoding a text file has, decided by reading all of it once."""

import codecs
import io
import logging
from pathlib import Path
from typing import IO

from secateur.errors import DataError
from secateur.sources.compression import explained, open_bytes
from secateur.sources.locations import SourceKind

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 22
_FALLBACK = "latin-1"
_LOOKED_AT = 4096


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
        if _is_rather_utf8(path, encoding):
            _log.warning(
                "%s is read as %s (ingest.encoding), and all of it is UTF-8 with letters beyond ASCII, which may come "
                "out wrong; without the parameter it is read as UTF-8",
                path.name,
                encoding,
            )
        return encoding
    if asked == "auto" and kind == "package":
        return _FALLBACK
    tip = "set ingest.encoding to the right one"
    if asked == "auto":
        wide = _without_mark(path)
        tip = (
            f"it looks like {wide} without a mark, which ingest.encoding={wide} reads"
            if wide
            else "convert the file, or set ingest.encoding (for instance cp1252, gb18030)"
        )
    raise DataError(f"{path.name} is not {encoding.upper()}: {problem}; {tip}")


def _is_rather_utf8(path: Path, encoding: str) -> bool:
    """Tell whether bytes that were read as letters of one or two bytes each very likely are those of UTF-8."""
    if codecs.lookup(encoding).name.startswith(("utf", "ascii")) or _first_problem(path, "utf-8") is not None:
        return False
    return _first_problem(path, "ascii") is not None


def open_text(raw: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Open bytes as text whose line ends stay as they are; a byte order mark of UTF-8 is no part of it."""
    return io.TextIOWrapper(raw, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")


def _first_problem(path: Path, encoding: str) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    with explained(path), open_bytes(path) as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                where = offset - len(pending) + error.start
                line += error.object[: error.start].count(b"\n")
                in_line = f", in line {line}" if "\n".encode(encoding) == b"\n" else ""
                return f"byte 0x{error.object[error.start]:02x} at offset {where}{in_line}"
            except UnicodeError as error:
                return str(error)
            if not chunk:
                return None
            offset += len(chunk)
            line += chunk.count(b"\n")


def _without_mark(path: Path) -> str | None:
    """Return the encoding of two bytes for each letter that a file without a byte order mark very likely has."""
    with explained(path), open_bytes(path) as file:
        start = file.read(_LOOKED_AT)
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) * 4 < len(start) or min(even, odd) * 8 > len(start):
        return next((name for name in ("utf-16-le", "utf-16-be") if _has_lines(start, name)), None)
    return "utf-16-be" if even > odd else "utf-16-le"


def _has_lines(start: bytes, encoding: str) -> bool:
    """Tell whether bytes are text of several lines in an encoding of two bytes, of whatever script.

    A line's end holds a zero byte there, which no encoding of a byte for each letter has.
    """
    try:
        text = start[: len(start) // 2 * 2 - 2].decode(encoding)  # the last letter may have its other half behind
    except UnicodeDecodeError:
        return False
    return "\n" in text and all(c.isprintable() or c in "\r\n\t" for c in text)


def _marked(path: Path) -> str | None:
    """Return the encoding that a byte order mark names; that of UTF-8 is left to the reader."""
    with explained(path), open_bytes(path) as file:
        start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None

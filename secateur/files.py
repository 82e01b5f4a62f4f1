"""Files that are either the old ones or the new ones, never half of each; and their digests."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from secateur.errors import ProjectError

NO_SPACE = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not become that large (ulimit -f)",
}
"""Error numbers of what has no place any more, and what is said of each."""

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that stands for another one, which Git LFS has not fetched."""

_CHUNK_BYTES = 1 << 20


def is_lfs_pointer(path: Path) -> bool:
    """Tell whether a file only stands for another one."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def at_home(path: Path) -> Path:
    """Return a path with ``~`` as the home folder; a name that only begins so (``~x.csv``) is a name."""
    try:
        return path.expanduser()
    except RuntimeError:  # there is no user of that name
        return path


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes, read in chunks."""
    return sha256_files([path])


def sha256_files(paths: Iterable[Path]) -> str:
    """Return the hex sha256 of the bytes of all files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def to_json(value: Any) -> str:
    """Serialise with sorted keys and a final newline, so that equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def utf8(text: str) -> bytes:
    """Return the bytes of a text, also of one with half a character, which JSON of somebody else may hold."""
    return text.encode("utf-8", "surrogatepass")


def write_json(path: Path, value: Any) -> None:
    """Write ``to_json(value)`` atomically."""
    write_text(path, to_json(value))


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` atomically by a file with this text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` atomically by a file with this content, which a power cut does not empty either."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        sync(temporary)


def sync(path: Path) -> None:
    """Wait until the content of a file has reached the device, so that renaming it cannot overtake that."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a sibling path to write a file or a folder to; move it to ``path`` when the block succeeds.

    When the block raises, or the new content cannot be moved, the old one stays and the new one is removed. What a
    killed process left behind is removed by the next call for the same path; a folder that it had moved away and not
    replaced is put back.

    Raises:
        ProjectError: no space is left on the device.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    replaced = path.with_name(f".{path.name}.old")
    remove(temporary)
    _put_back(replaced, path)
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be renamed over another one: two renames, and a crash between them leaves
            # the old folder complete beside the new one.
            remove(replaced)
            path.rename(replaced)
        temporary.rename(path)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ProjectError(f"{NO_SPACE[error.errno]} while writing {path}; nothing was replaced") from error
        raise
    finally:
        _put_back(replaced, path)
        remove(temporary)
        remove(replaced)


def _put_back(replaced: Path, path: Path) -> None:
    if replaced.exists() and not path.exists():
        replaced.rename(path)


def shown_bytes(count: int) -> str:
    """Write a number of bytes for people: ``12.3 MB``."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def free_bytes(path: Path) -> int:
    """Return the free space of the device that holds ``path`` (or its nearest existing parent)."""
    while not path.exists():
        path = path.parent
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize

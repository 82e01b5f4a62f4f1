"""Bytes against their digests: what DVC's cache and the workspace hold, rather than what DVC remembers of them.

DVC trusts a read-only object of its cache, and a file in the workspace whose size, time and inode are those it saw.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc_data.hashfile.hash_info import HashInfo

from secateur.files import remove

_CHUNK_BYTES = 1 << 20


def md5_of(file: Path) -> str:
    """Return the hex md5 of a file's bytes, read in chunks (0.2 s for 100 MB)."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def drop_damaged(cache: Any, digests: Iterable[str]) -> list[str]:
    """Remove the objects of a cache whose bytes do not fit, so that they are not found again.

    Args:
        cache: DVC's store of objects.
        digests: md5 of files and folders, a folder's ending in ``.dir``.

    Returns:
        The digests of what was removed.
    """
    dropped = []
    for digest in digests:
        for found in listed(cache, digest):
            path = Path(cache.oid_to_path(found))
            if path.is_file() and md5_of(path) != found.removesuffix(".dir"):
                remove(path)
                dropped.append(found)
    return dropped


def forget_changed(repo: Any, paths: Iterable[Path]) -> list[Path]:
    """Correct what DVC remembers of files that changed without their size and time.

    Args:
        repo: DVC's.
        paths: files and folders; what is missing is left out.

    Returns:
        The files whose digest DVC had wrong.
    """
    changed = []
    for file in (file for path in paths for file in _files(path)):
        _, remembered = repo.state.get(str(file), repo.fs)
        if remembered is None or remembered.name != "md5":
            continue
        found = md5_of(file)
        if remembered.value != found:
            repo.state.save(str(file), repo.fs, HashInfo("md5", found))
            changed.append(file)
    return changed


def listed(cache: Any, digest: str) -> Iterator[str]:
    """Yield a digest, and of a folder's readable list those of its files."""
    yield digest
    if not digest.endswith(".dir"):
        return
    try:
        entries = json.loads(Path(cache.oid_to_path(digest)).read_bytes())
        yield from [str(entry["md5"]) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return  # missing, or damaged and removed


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []

"""Bytes against their digests: what DVC's cache and the workspace hold, rather than what DVC remembers of them.

DVC trusts a read-only object of its cache, and a file in the workspace whose size, time and inode are those it saw.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dvc
from dvc.dvcfile import LOCK_FILE, PROJECT_FILE
from dvc.ignore import DvcIgnore
from dvc_data.hashfile.hash_info import HashInfo

from secateur.files import remove

_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r".*\.[\w-]{22}\.tmp")
"""What DVC calls half a file: 16 random bytes."""


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


def remove_temporary(outputs: Iterable[Path]) -> None:
    """Remove what a killed DVC has left in and beside outputs: half a file under a name that nobody reads."""
    for output in outputs:
        for file in (*output.parent.glob("*.tmp"), *output.rglob("*.tmp")):
            if _TEMPORARY.fullmatch(file.name):
                remove(file)


def looked_at(repo: Any, stages: Sequence[Any]) -> list[Path]:
    """Return what decides whether DVC finds stages up to date, also what is missing.

    That is what they read and write, the objects of the cache, what is left out of folders, DVC's own settings and
    code, and what a killed process of it leaves. Nothing where its lock does not tell whether somebody holds it.
    """
    if repo.config["core"].get("hardlink_lock"):
        return []
    root, outputs = Path(repo.root_dir), [out for stage in stages for out in stage.outs]
    named = {
        Path(entry.fs_path) for entry in (*(dependency for stage in stages for dependency in stage.deps), *outputs)
    }
    within = {parent for path in named for parent in path.parents if parent.is_relative_to(root)}
    objects = {
        Path(out.cache.oid_to_path(digest))
        for out in outputs
        if out.use_cache
        for digest in listed(out.cache, str(out.hash_info.value))
    }
    files = {
        root / PROJECT_FILE,
        root / LOCK_FILE,
        root / ".dvc" / "tmp" / "rwlock",
        *map(Path, repo.config.files.values()),
    }
    installed = Path(str(dvc.__file__)).parent
    ignoring = {folder / DvcIgnore.DVCIGNORE_FILE for folder in within}
    return sorted({*files, *ignoring, *objects, installed / "__init__.py", installed.parent, *_with_all_below(named)})


def _with_all_below(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        for folder, folders, files in os.walk(path):
            yield from (Path(folder, name) for name in (*folders, *files))


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

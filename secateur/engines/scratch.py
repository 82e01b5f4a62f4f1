"""The folders of a worker: one per worker process, with one inside for each piece of work.

Where a worker is killed its folder stays, so whoever comes next on the machine removes it: the kernel has released its
lock. ``CACHE`` beside the inner folders outlives each of them, so that a dense model is fetched once.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CACHE = "cache"
"""Of what was fetched, in the folder of a worker process: beside that of each piece of work."""

_PREFIX = "secateur-worker-"
_LOCK = "lock"
_NEW_S = 60.0
"""So young is a folder whose process may not have locked it yet."""


@contextmanager
def scratch_folder(place: str | None) -> Iterator[Path]:
    """Yield an empty folder, which is removed afterwards.

    Args:
        place: where worker processes make theirs; None takes the machine's place for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=_of_process(place or tempfile.gettempdir()), prefix="work-") as folder:
        yield Path(folder)


@cache
def _of_process(place: str) -> Path:
    Path(place).mkdir(parents=True, exist_ok=True)
    for left in Path(place).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=_PREFIX)).resolve()
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # open until this process ends
    fcntl.flock(lock, fcntl.LOCK_EX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # removed meanwhile, or there is no lock yet
        state = folder.lstat()
        if state.st_uid != os.getuid() or time.time() - state.st_mtime < _NEW_S:
            return
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)

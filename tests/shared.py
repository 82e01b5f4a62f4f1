"""What all workers of a run share: the first that asks makes it, and processes end with the last worker."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_folders: list[Path] = []


def join(folder: Path) -> None:
    """Belong to the run of a folder from now on.

    Its processes read a pipe that every worker holds open. The kernel closes it with the last of them, however that
    one ends: nothing is counted, and nothing is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkfifo(folder / "held")
    os.open(folder / "held", os.O_RDWR)
    _folders.append(folder)


def once(name: str, make: Callable[[Path], str]) -> str:
    """Return what the first worker has made, which others wait for.

    Args:
        name: the same for all that share it.
        make: gets a folder to make it in, and says what the others need to know.
    """
    if not _folders:
        join(Path(tempfile.mkdtemp(prefix="tests-")))  # a script that is run by hand
    folder = _folders[0]
    made = folder / name / "made"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.parent.mkdir()
            made.write_text(make(made.parent), encoding="utf-8")
        return made.read_text(encoding="utf-8")


def held() -> int:
    """Return a standard input that ends with the last worker; whoever asks closes it."""
    pipe = os.open(_folders[0] / "held", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    return pipe

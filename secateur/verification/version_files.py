"""The files below the root of a registered version: which of them are listed, which are there, and a private copy.

Whoever can write to the artifact store can put files beside those that were registered, and change one between the
moment it is checked and the moment it is opened. So everything below the root must be listed, and what is opened is a
copy that was compared with its digests while it was made.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from secateur.errors import CheckFailed, ProjectError
from secateur.files import NO_SPACE, sha256_file

_CHUNK_BYTES = 1 << 20
_OWNER_ONLY = 0o700
_META_BYTES = 4096
SIGNATURE_FILE = "model.sig"
"""What signs the files of a version for other tools; it is none of them, and no reader opens it but who verifies."""

MAX_SIGNATURE_BYTES = 16 << 20

_MLFLOW_META = "registered_model_meta"
"""Two lines, name and number, that MLflow leaves beside the files whenever somebody loads them."""


@dataclass(frozen=True)
class FileCheck:
    """One file against its digest.

    Attributes:
        file: where it lies.
        expected: sha256 in hex; None for a file that nothing lists.
        found: sha256 in hex; None for a missing file.
        irregular: what it is instead of a file or a folder: a symbolic link, a pipe; None for a file.
    """

    file: Path
    expected: str | None
    found: str | None
    irregular: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None when nothing is."""
        if self.irregular is not None:
            return f"{self.file} is {self.irregular}, which no version holds: somebody put it there"
        if self.expected is None:
            hint = (
                "; Python writes it when others load the model from there" if "__pycache__" in self.file.parts else ""
            )
            return f"{self.file} belongs to no registered file: somebody added it{hint}"
        if self.found is None:
            return f"{self.file} is missing"
        if self.found != self.expected:
            return f"{self.file} differs from its digest: the file is damaged or was edited"
        return None


def check_tree(root: Path, listed: Mapping[str, str], *, meta: Mapping[str, str] | None = None) -> list[FileCheck]:
    """Compare everything below a folder with a list.

    Args:
        root: of the version.
        listed: path below the root, with slashes -> sha256.
        meta: what MLflow may have left in ``registered_model_meta``; None where it has no business.

    Returns:
        A check for every listed file, and one for whatever else is there: files, links, empty folders.
    """
    found = dict(_walk(root, root))
    checks = []
    for name in sorted({*listed, *found}):
        file, mode = root / name, found.get(name)
        if mode is None or stat.S_ISREG(mode):
            digest = None if mode is None or name not in listed else sha256_file(file)
            check = FileCheck(file, listed.get(name), digest)
        else:
            check = FileCheck(file, listed.get(name), None, irregular=_kind(mode))
        if name == SIGNATURE_FILE and name not in listed and meta is not None and _is_signature(file, mode):
            continue
        if name == _MLFLOW_META and name not in listed and meta is not None and _says(file, mode, meta):
            continue
        checks.append(check)
    return checks


@final
class PrivateCopy:
    """The listed files of a version in a folder that only this user can open; it goes when this process ends."""

    def __init__(self, root: Path, listed: Mapping[str, str], *, state: Path) -> None:
        """Copy them.

        Args:
            root: of the version.
            listed: path below the root -> sha256, compared while it is copied.
            state: folder of the project for such things; where nothing can be written there, the system's temporary
                one is used.

        Raises:
            CheckFailed: a file is not what it was a moment ago.
            ProjectError: no space is left for the copy.
        """
        self._process = os.getpid()
        self.folder, self._lock = _own_folder(state / "opened")
        atexit.register(self.close)
        try:
            for name, digest in sorted(listed.items()):
                _copy(root / name, self.folder / name, digest)
        except OSError as error:
            self.close()
            if error.errno in NO_SPACE:
                raise ProjectError(
                    f"no space left on the device that holds {self.folder} for a copy of {root}"
                ) from error
            raise CheckFailed(f"{error.filename or root} cannot be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the folder; what was opened in it stays open."""
        atexit.unregister(self.close)
        if self._lock is not None and os.getpid() == self._process:  # a fork may end earlier
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
        self._lock = None


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Yield path below the root and mode of every file and every empty folder; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            mode = entry.stat(follow_symlinks=False).st_mode
            path = Path(entry.path)
            inside = list(_walk(root, path)) if stat.S_ISDIR(mode) else []
            yield from inside or [(path.relative_to(root).as_posix(), mode)]


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "an empty folder" if stat.S_ISDIR(mode) else "no regular file"


def _says(file: Path, mode: int | None, meta: Mapping[str, str]) -> bool:
    """Tell whether a file holds these lines and nothing else; their order and quotes are MLflow's affair."""
    if mode is None or not stat.S_ISREG(mode) or file.stat().st_size > _META_BYTES:
        return False
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return sorted(line.replace("'", "") for line in lines) == sorted(f"{key}: {value}" for key, value in meta.items())


def _is_signature(file: Path, mode: int | None) -> bool:
    return mode is not None and stat.S_ISREG(mode) and file.stat().st_size <= MAX_SIGNATURE_BYTES


def _own_folder(base: Path) -> tuple[Path, int | None]:
    """Make a folder that is locked as long as this process lives, after those of dead processes were removed."""
    try:
        base.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        with _locked(base, wait=True):
            for left in base.iterdir():
                with suppress(OSError), _locked(left, wait=False):
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=base))
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return folder, lock
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ProjectError(f"no space left on the device that holds {base}") from error
    folder = Path(tempfile.mkdtemp(prefix="secateur-"))
    return folder, os.open(folder, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a regular file, never what a link or a pipe leads to, and compare what was written with its digest."""
    target.parent.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
    seen = hashlib.sha256()
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader:
        is_file = stat.S_ISREG(os.fstat(reader.fileno()).st_mode)
        with target.open("xb") as writer:
            while is_file and (chunk := reader.read(_CHUNK_BYTES)):
                seen.update(chunk)
                writer.write(chunk)
    if not is_file or seen.hexdigest() != digest:
        raise CheckFailed(f"{source} was changed while it was read; nothing was loaded")

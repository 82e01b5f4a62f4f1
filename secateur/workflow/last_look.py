"""DVC's last look at a workspace in which nothing was to do: until a file is touched, it would find the same.

To ask DVC takes half a second, most of it imports. What it finds depends on files alone, and one whose size, time and
inode it knows it does not read; here the time of the last change of any kind counts too, which nobody can set back.
Where anything is in doubt, DVC is asked.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from secateur.errors import ProjectError
from secateur.files import remove, write_text
from secateur.workflow.project import Project, is_read_only

_COARSE_NS = 2_000_000_000
"""Clocks of file systems can be that coarse: what was touched so shortly before a look may be touched again unseen."""


def recall(project: Project) -> dict[str, str] | None:
    """Return address -> key of the stages, if nothing has been touched since all of them were up to date; else None."""
    with suppress(OSError, ValueError):  # there is none, or a damaged one
        digest, _, body = _file(project).read_text(encoding="utf-8").partition("\n")
        if digest != _digest(body):
            return None
        kept = json.loads(body)
        if (
            kept["circumstances"] == _circumstances(project)
            and all(_stat(path) == found for path, found in kept["files"].items())
            and not _is_locked(project)
        ):
            keys: dict[str, str] = kept["keys"]
            return keys
    return None


def begin(project: Project) -> int:
    """Forget the last look; return the time at which another one begins, by the clock of the file system, in ns."""
    if is_read_only(project):
        return 0  # what is younger than that is not remembered
    with suppress(OSError):
        _file(project).parent.mkdir(parents=True, exist_ok=True)
        _file(project).write_bytes(b"")
        return _file(project).stat().st_mtime_ns
    return 0


def remember(project: Project, keys: Mapping[str, str], looked_at: Iterable[Path], *, began: int) -> None:
    """Keep what DVC found, unless a file was touched during its look or shortly before.

    Args:
        project: held exclusively by the caller.
        keys: address -> key of the stages, all of them up to date.
        looked_at: what decides that, also what is missing.
        began: of ``begin``.
    """
    own = Path(__file__).parent.glob("*.py")
    files = {str(path): _stat(path) for path in (*looked_at, *own)}
    if any(found is not None and max(found[-2:]) >= began - _COARSE_NS for found in files.values()):
        return
    body = json.dumps({"circumstances": _circumstances(project), "files": files, "keys": dict(keys)})
    with suppress(OSError, ProjectError):  # it is worth no error
        write_text(_file(project), f"{_digest(body)}\n{body}")


def forget(project: Project) -> None:
    """Let DVC be asked again, where it has learned what no time of a file tells."""
    with suppress(OSError):
        remove(_file(project))


def _file(project: Project) -> Path:
    return project.state / "last_look.json"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _stat(path: str | Path) -> list[int] | None:
    """Return what changes when a file is touched, the two times last; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  some hundred times
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _circumstances(project: Project) -> dict[str, Any]:
    """Return what decides which files are looked at, and who looks; of settings the digest, as a token may be one."""
    named = sorted(item for item in os.environ.items() if item[0].startswith(("DVC_", "XDG_", "HOME")))
    settings = _digest(json.dumps(named))
    return {"root": str(project.root), "python": [sys.prefix, sys.version], "user": os.geteuid(), "settings": settings}


def _is_locked(project: Project) -> bool:
    """Tell whether another DVC process is at work, which ours would wait for."""
    with suppress(FileNotFoundError), (project.root / ".dvc" / "tmp" / "lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

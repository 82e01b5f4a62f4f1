"""dvc.lock: written as a whole, kept in its last complete state, and put back where a process was killed in between.

DVC empties the file and then writes it for about a second. Our own writes go beside it and are renamed; whatever DVC
writes under its own command may be cut anywhere.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from dvc.fs import LocalFileSystem
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml
from dvc.utils.serialize import ParseError, _common, _yaml, parse_yaml
from voluptuous import Invalid

from secateur.errors import ProjectError
from secateur.files import remove, write_bytes, write_text
from secateur.workflow.project import Project, git

logger = logging.getLogger(__name__)

LOCK = "dvc.lock"
_CONFLICT = b"<<<<<<< "


def problem(content: bytes) -> str | None:
    """Say what is wrong with the content of a dvc.lock, in words that follow its name; None when it is complete.

    What is cut at the end of a line can still be read. It is incomplete when the last file of the last stage lacks its
    size, or is a folder without the count of its files; a stage that lost more than that is merely stale.
    """
    if not content.strip():
        return "is empty, as a killed process leaves it"
    if not content.endswith(b"\n"):
        return "breaks off in the middle of a line, as a killed process leaves it"
    try:
        values = COMPILED_LOCKFILE_SCHEMA(_parse(content.decode("utf-8"), LOCK))
    except (ParseError, UnicodeDecodeError, Invalid):
        return "cannot be read"
    stages = list((values.get("stages") or {}).values())
    return "breaks off in its last stage, as a killed process leaves it" if stages and _is_cut(stages[-1]) else None


def settle(project: Project) -> bool:
    """Keep a copy of a complete dvc.lock; tell whether there is a damaged one, which ``heal`` puts right.

    The copy is what makes this cheap: nothing is parsed while the file is what was kept. While another process works
    in the project, the file is that one's.
    """
    file = project.root / LOCK
    content = _read(file)
    if project.holder is not None or content is None or content == _read(kept_file(project)):
        return False
    if problem(content) is not None:
        return True
    keep(project)
    return False


def keep(project: Project) -> None:
    """Keep a copy of a dvc.lock that is known to be complete; where nothing can be written there is none."""
    content = _read(project.root / LOCK)
    if content is not None:
        with suppress(OSError):
            write_bytes(kept_file(project), content)


def heal(project: Project) -> None:
    """Put back the last complete dvc.lock: what was kept, else what the last commit holds, else none.

    Stages that were recorded later are found in DVC's run-cache, so nothing is computed again. The caller holds DVC's
    lock, so nobody is writing.

    Raises:
        ProjectError: the file holds the conflict of a merge, which is the user's to resolve, or cannot be replaced.
    """
    file = project.root / LOCK
    content = _read(file)
    wrong = None if content is None else problem(content)
    if content is None or wrong is None:
        return
    if content.startswith(_CONFLICT) or b"\n" + _CONFLICT in content:
        raise ProjectError(
            f"{LOCK} holds both sides of a merge; take one (`git checkout --ours {LOCK}`), then `secateur run` brings "
            "it up to date"
        )
    found = _last_complete(project)
    try:
        said = _replace(project, content, found)
    except OSError as error:
        raise ProjectError(f"{file} {wrong}, and cannot be replaced: {error.strerror}") from error
    logger.warning("%s %s; %s", LOCK, wrong, said)


def parse_once() -> None:
    """Let DVC, inside this process, parse a text once; it reads dvc.lock anew at every lock, a tenth of a second each.

    And params.yaml four times for each stage. The text itself is read every time, so what another process wrote is
    seen.
    """
    strictyaml.parse_yaml = _yaml.parse_yaml = _parse


@lru_cache(maxsize=8)
def _parsed(text: str, path: str, typ: str) -> Any:
    return parse_yaml(text, path, typ)


def _parse(text: str, path: Any, typ: str = "safe") -> Any:
    # A copy: DVC writes into what it read.
    return deepcopy(_parsed(text, str(path), typ))


@contextmanager
def written_whole() -> Iterator[None]:
    """Let DVC, inside this process, write dvc.lock and dvc.yaml beside the old file and rename it."""
    original = _common._dump_data

    def dump(path: Any, data: Any, dumper: Any, fs: Any = None, **options: Any) -> None:
        if fs is not None and not isinstance(fs, LocalFileSystem):
            original(path, data, dumper, fs=fs, **options)
            return
        # Not into the file itself: on a full disk ruamel prints what it could not write.
        text = StringIO()
        dumper(data, text, **options)
        write_text(Path(path), text.getvalue())

    _common._dump_data = dump
    try:
        yield
    finally:
        _common._dump_data = original


def _is_cut(stage: Mapping[str, Any]) -> bool:
    files = stage.get("outs") or stage.get("deps") or []
    last = files[-1] if files else {}
    if "md5" not in last:
        return False
    return "size" not in last or (str(last["md5"]).endswith(".dir") and "nfiles" not in last)


def _last_complete(project: Project) -> tuple[bytes, str] | None:
    """Return a complete content and where it was found."""
    kept = _read(kept_file(project))
    if kept is not None and problem(kept) is None:
        return kept, "its last complete state was put back"
    with suppress(ProjectError):
        committed = git(project.root, "show", f"HEAD:./{LOCK}").encode()
        if problem(committed) is None:
            return committed, "that of the last commit was put back"
    return None


def _replace(project: Project, content: bytes, found: tuple[bytes, str] | None) -> str:
    """Write what was found and keep the damaged file; return what was done, in words."""
    aside = ""
    if content.strip():
        damaged = kept_file(project).with_name(f"{LOCK}.damaged")
        write_bytes(damaged, content)
        aside = f", the damaged one is {damaged.relative_to(project.root)}"
    if found is None:
        remove(project.root / LOCK)
        return f"it begins anew from DVC's run-cache{aside}"
    write_bytes(project.root / LOCK, found[0])
    return f"{found[1]}{aside}"


def kept_file(project: Project) -> Path:
    """Return where the last complete state is kept."""
    return project.state / LOCK


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None

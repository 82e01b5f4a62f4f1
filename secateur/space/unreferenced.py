"""What a project keeps and nothing refers to any more: what `secateur gc` removes."""

import fcntl
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from secateur.errors import Occupied
from secateur.files import remove
from secateur.models.card import Card
from secateur.workflow.code_lock import FILE as CODE_LOCK
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.project import REBUILD_LOCK, REBUILD_PREFIX, Project, commit_of, git
from secateur.workflow.results import read_json
from secateur.workflow.stage import LATENCY_TABLE
from secateur.workflow.tried import TRIED

_DIGEST = re.compile(r"\b[0-9a-f]{32}\b")
_HALF_WRITTEN_FOR_S = 3600
"""A file that is being written is not half written yet."""

_WRITTEN_IN = ("data/clean", "models", "reports", "reports/training", ".secateur")
_WRITTEN = ("params.yaml", "dvc.yaml", "dvc.lock", CODE_LOCK, LATENCY_TABLE, "data/raw", "data/tokens")
"""Beside them may lie what is somebody else's."""


@dataclass(frozen=True)
class Needed:
    """What registered versions refer to.

    Attributes:
        objects: md5 of files and folders in DVC's cache, a folder's ending in ``.dir``.
        versions: names and numbers.
    """

    objects: frozenset[str] = frozenset()
    versions: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Unreferenced:
    """Files and folders of one sort that nothing refers to.

    Attributes:
        what: they are.
        paths: path -> bytes; in the order in which they may go.
    """

    what: str
    paths: dict[Path, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(self.paths.values())


OBJECTS = "objects of DVC's cache"


def unreferenced(project: Project, store: DvcStore, needed: Needed) -> list[Unreferenced]:
    """List what may go; sorts of which there is nothing are left out. The caller holds the workspace (``exclusive``).

    Raises:
        Occupied: an experiment of DVC runs, whose objects nothing refers to yet.
        ProjectError: a commit's files cannot be read, so that what it refers to is not known.
    """
    _require_no_experiment(project)
    found = [
        Unreferenced(OBJECTS, store.unused_objects(needed.objects)),
        _sized("copies of source code that no recorded stage used", _snapshots(project)),
        _sized("exports of other weights than those of today's models", _exports(project)),
        _sized("copies of versions that are no longer registered", _downloads(project, needed)),
        _sized("worktrees of killed rebuilds", _rebuilds(project)),
        _sized("half-written files of killed runs", _half_written(project)),
    ]
    return [group for group in found if group.paths]


def remove_unreferenced(found: Iterable[Unreferenced], store: DvcStore, needed: Needed) -> None:
    """Remove what ``unreferenced`` returned, but for objects that something refers to by now."""
    for group in found:
        if group.what == OBJECTS:
            store.remove_objects(needed.objects, group.paths)
            continue
        for path in group.paths:
            remove(path)


def _sized(what: str, paths: Iterable[Path]) -> Unreferenced:
    return Unreferenced(what, {path: _bytes(path) for path in sorted(paths)})


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _require_no_experiment(project: Project) -> None:
    """Refuse while an experiment in a folder of its own runs: it fills the same cache."""
    folder = project.root / ".dvc" / "tmp" / "exps"
    for lock in [*folder.glob("*/.secateur/run.lock"), *folder.glob("*/*/.secateur/run.lock")]:
        if _is_held(lock):
            raise Occupied(f"an experiment of DVC runs in {lock.parent.parent}; wait for it to end")


def _is_held(lock: Path) -> bool:
    if not lock.is_file():
        return False
    with lock.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _snapshots(project: Project) -> Iterator[Path]:
    """Yield the lists of code that no dvc.lock or code.lock ever named, and the files that no other list names."""
    folder, known = project.state / "code", _recorded_digests(project)
    lists = [path for path in folder.glob("*.json") if _DIGEST.fullmatch(path.stem)]
    kept = {name for path in lists if path.stem in known for name in read_json(path).values()}
    yield from (path for path in lists if path.stem not in known)
    yield from (path for path in folder.glob("*") if re.fullmatch("[0-9a-f]{64}", path.name) and path.name not in kept)


def _recorded_digests(project: Project) -> set[str]:
    """Return all digests that stand in dvc.lock or code.lock, here or in any commit."""
    files = ["dvc.lock", CODE_LOCK]
    texts = [(project.root / name).read_text(encoding="utf-8") for name in files if (project.root / name).is_file()]
    if commit_of(project.root) is not None:
        texts.append(git(project.root, "log", "--all", "--patch", "--no-color", "--format=", "--", *files))
    return {digest for text in texts for digest in _DIGEST.findall(text)}


def _exports(project: Project) -> list[Path]:
    """Return the exports of no checkpoint of the workspace: their names begin with the digest of its weights.

    Where two have the same weights, those of one lie below the beginning of its key.
    """
    models = (project.root / "models").glob("*")
    cards = [Card.found_in(place) for folder in models for place in (folder, folder / TRIED)]
    known = {str(card.weights_sha256)[:16] for card in cards} | {str(card.key)[:8] for card in cards}
    return [path for path in (project.state / "exports").glob("*") if path.name[:16] not in known]


def _downloads(project: Project, needed: Needed) -> list[Path]:
    registered = {(quote(name, safe=""), version) for name, version in needed.versions}
    found = (project.state / "models").glob("*/*")
    return [path for path in found if (path.parent.name, path.name) not in registered]


def _rebuilds(project: Project) -> list[Path]:
    """Return the folders in which a rebuild had checked a commit out; git forgets them at the next rebuild."""
    if _is_held(project.state / REBUILD_LOCK):
        return []
    lines = git(project.root, "worktree", "list", "--porcelain").splitlines()
    trees = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    return [tree.parent for tree in trees if tree.parent.name.startswith(REBUILD_PREFIX) and tree.parent.is_dir()]


def _half_written(project: Project) -> Iterator[Path]:
    """Yield what ``files.replacing`` had begun in a killed process; the only copy of a folder is none of it."""
    ours = [path for folder in _WRITTEN_IN for path in (project.root / folder).glob(".*")]
    for path in map(project.root.joinpath, _WRITTEN):
        ours += [found for suffix in ("new", "old") if (found := path.with_name(f".{path.name}.{suffix}")).exists()]
    for path in ours:
        name, _, suffix = path.name[1:].rpartition(".")
        begun = suffix == "new" or (suffix == "old" and path.with_name(name).exists())
        if name and begun and time.time() - path.lstat().st_mtime > _HALF_WRITTEN_FOR_S:
            yield path

"""Objects of DVC's cache that nothing refers to. Which those are, and their removal, is DVC's own work."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc_data.hashfile.gc import gc
from dvc_data.hashfile.hash_info import HashInfo

from secateur.workflow.dvc_objects import listed
from secateur.workflow.project import commit_of, git


def unused_objects(repo: Any, keep: Iterable[str]) -> dict[Path, int]:
    """Return path -> bytes of the objects that neither a commit nor the workspace uses.

    A folder's list comes before its files. Every commit counts that a branch, a tag or an experiment leads to. A cache
    outside of the project may be that of others too: nothing of it is named.

    Args:
        repo: DVC's, locked.
        keep: md5 of files and folders that are used beside, a folder's ending in ``.dir``.
    """
    used = _used(repo, keep)
    found: dict[Path, int] = {}
    for odb in _caches(repo):
        unused = [digest for digest in odb.all() if digest not in used]
        for digest in sorted(unused, key=lambda digest: (not digest.endswith(".dir"), digest)):
            path = Path(odb.oid_to_path(digest))
            found[path] = path.stat().st_size
    return found


def remove_objects(repo: Any, keep: Iterable[str], paths: Iterable[Path]) -> None:
    """Remove those of some objects that are still used by nothing; lists of folders go first.

    Args:
        repo: as for ``unused_objects``.
        keep: as for ``unused_objects``.
        paths: that it returned.
    """
    chosen, used = set(paths), _used(repo, keep)
    for odb in _caches(repo):
        stay = [digest for digest in odb.all() if digest in used or Path(odb.oid_to_path(digest)) not in chosen]
        gc(odb, [HashInfo(odb.hash_name, digest) for digest in stay])


def is_shared(repo: Any) -> bool:
    """Tell whether the cache lies outside of the project."""
    return not list(_caches(repo))


def _used(repo: Any, keep: Iterable[str]) -> set[str]:
    # A list of files that is gone can be had from a remote only, and then so can its files: that is no question.
    of_stages = repo.used_objs(revs=_revisions(Path(repo.root_dir)), force=True)
    used = {str(info.value) for infos in of_stages.values() for info in infos}
    return used | {entry for digest in keep for entry in listed(repo.cache.local, digest)}


def _revisions(root: Path) -> list[str]:
    """Return the commits that changed what DVC reads, of all that anything leads to: the others refer to the same."""
    if commit_of(root) is None:
        return []
    files = ("*dvc.lock", "*dvc.yaml", "*.dvc")
    return git(root, "log", "--all", "--full-history", "--format=%H", "--", *files).split()


def _caches(repo: Any) -> Iterator[Any]:
    seen: list[Any] = []
    for _, odb in repo.cache.by_scheme():
        inside = odb is not None and odb.fs.protocol == "local" and Path(odb.path).is_relative_to(repo.root_dir)
        if inside and odb not in seen:
            seen.append(odb)
            yield odb

"""DVC as a store. Only ``dvc_*.py`` here touch its internal Python API (pinned; a test compares with ``dvc repro``).

DVC is the only store of bytes and the only truth of staleness.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.config import ConfigError as DvcConfigError
from dvc.config import NoRemoteError
from dvc.dependency.param import ParamsDependency
from dvc.dvcfile import PROJECT_FILE, load_file
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError
from dvc.stage import PipelineStage
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.exceptions import StageFileDoesNotExistError, StageNotFound
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.ui import ui
from dvc.utils.serialize import YAMLFileCorruptedError
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import ObjectFormatError

from secateur.engines.remote import remote_of
from secateur.errors import CheckFailed, ProjectError
from secateur.files import NO_SPACE, remove
from secateur.identity.key import Identity
from secateur.workflow import dvc_gc, dvc_lock, last_look
from secateur.workflow.code_lock import FILE as CODE_LOCK
from secateur.workflow.dvc_objects import drop_damaged, forget_changed, looked_at, md5_of, remove_temporary
from secateur.workflow.dvc_remote import silent, wait_no_longer
from secateur.workflow.project import Project, is_read_only

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How a stage stands against dvc.lock. Empty fields mean up to date.

    Attributes:
        new: dvc.lock has no entry.
        command: the command differs.
        code: the code that the stage uses differs.
        dependencies: path -> modified, deleted or new.
        parameters: dotted names of parameters that differ.
        outputs: path -> modified, deleted, not in cache or new.
    """

    new: bool = False
    command: bool = False
    code: bool = False
    dependencies: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs_changed(self) -> bool:
        """The identity differs from the recorded one."""
        return bool(self.new or self.command or self.code or self.dependencies or self.parameters)

    @property
    def changed(self) -> bool:
        """Anything differs."""
        return self.inputs_changed or bool(self.outputs)


class DvcStore:
    """The stages of one workspace as DVC sees them. Every method takes and releases DVC's lock."""

    def __init__(self, project: Project) -> None:
        """Open the workspace.

        Raises:
            ProjectError: it was never initialised for DVC.
        """
        self._project = project
        # What DVC would print belongs to its own command line.
        ui._enabled = False
        logging.getLogger("dvc").setLevel(logging.WARNING)
        # Its bars, one per file, and ours are drawn over each other; what a stage waits for, ours show.
        logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)
        dvc_lock.parse_once()
        try:
            self._repo = Repo(str(project.root))
        except (DvcException, DvcConfigError) as error:
            raise ProjectError(f"{project.root} is not a DVC workspace: {_line(error)}; run `dvc init`") from error
        wait_no_longer(self._repo)
        # While `dvc repro` runs us, DVC has read a complete file.
        if dvc_lock.settle(project) and "DVC_STAGE" not in os.environ:
            with self._locked():
                dvc_lock.heal(project)
                self._repo._reset()

    def order(self) -> tuple[str, ...]:
        """Return the addresses of all stages in the order in which ``dvc repro`` runs them."""
        with self._locked():
            graph = get_active_graph(self._repo.index.graph)
            stages = self._stages()
            ordered = plan_repro(graph, list(self._repo.index.stages))
            return tuple(stage.name for stage in ordered if stage in stages.values())

    def statuses(self) -> dict[str, Status]:
        """Return the status of every stage, with one look at the workspace."""
        with self._locked():
            return {address: _status(stage) for address, stage in self._stages().items()}

    def unchanged(self) -> dict[str, Identity]:
        """Return the identities of the stages that DVC finds up to date, with one look at dvc.yaml and no other."""
        with self._locked():
            stages = self._file().stages.items()
            return {address: _identity(stage) for address, stage in stages if not _status(stage).changed}

    def looked_at(self) -> list[Path]:
        """Return what decides that stages are up to date, also what is missing; nothing where nobody can say."""
        with self._locked():
            files = looked_at(self._repo, list(self._file().stages.values()))
            return [*files, dvc_lock.kept_file(self._project)] if files else []

    def status(self, address: str) -> Status:
        """Return the status of one stage."""
        with self._locked():
            return _status(self._stage(address))

    def identity(self, address: str) -> Identity:
        """Digest what decides the outputs of a stage, as it lies in the workspace now.

        Raises:
            ProjectError: a dependency does not exist.
        """
        with self._reading():
            return _identity(self._stage(address))

    def recorded(self, address: str) -> Identity | None:
        """Return the identity that dvc.lock holds for a stage."""
        with self._reading():
            stage = self._stage(address)
            dependencies = {
                dependency.def_path: str(dependency.hash_info.value)
                for dependency in stage.deps
                if dependency.hash_info.value is not None and not isinstance(dependency, ParamsDependency)
            }
            parameters, code = _named(stage, lambda dependency: dependency.hash_info.value or {})
            # DVC knows nothing of a parameter that dvc.yaml no longer lists, since params.yaml no longer gives it.
            locked = stage.dvcfile._lockfile.load().get("stages", {}).get(address, {})
            parameters = dict(locked.get("params", {}).get("params.yaml", {})) | parameters
            if not dependencies and not parameters:
                return None
            return Identity(address, stage.cmd, dependencies, parameters, code)

    def current_parameters(self, address: str) -> dict[str, Any]:
        """Return dotted name -> value of a stage's parameters, as params.yaml holds them now."""
        with self._reading():
            return _named(self._stage(address), lambda dependency: dependency.read_params())[0]

    def output_digests(self, address: str) -> dict[str, str]:
        """Return path -> md5 of the outputs that dvc.lock records."""
        with self._reading():
            return {out.def_path: str(out.hash_info.value) for out in self._stage(address).outs}

    def can_restore(self, address: str) -> bool:
        """Tell whether ``restore`` would find the outputs, without touching the workspace or reading their bytes."""
        with self._locked():
            return self._cached(self._stage(address)) is not None

    def restore(self, address: str) -> bool:
        """Check the outputs out of the cache, if an execution with this identity is known; tell whether it was.

        Every object is compared with its digest first. What is damaged is removed from the cache, and nothing is
        restored.
        """
        with self._locked():
            stage = self._stage(address)
            cached = self._cached(stage)
            if cached is None or self._is_damaged(cached):
                return False
            for out in self._stage(address).outs:
                # DVC would ask before it replaces a file that was changed by hand.
                if out.exists and out.changed_checksum():
                    remove(Path(out.fs_path))
            self._repo._reset()
            self._repo.stage_cache.restore(self._stage(address))
            self._record(address)
            return True

    def store_again(self, address: str) -> bool:
        """Put outputs that the cache has lost back into it, if those in the workspace are the recorded ones."""
        with self._locked():
            stage = self._stage(address)
            status = _status(stage)
            if status.inputs_changed or set(status.outputs.values()) != {"not in cache"}:
                return False
            if any(not out.exists or out.changed_checksum() for out in stage.outs):
                return False
            self._record(address)
            return True

    def forget_changed(self, paths: Iterable[str]) -> list[str]:
        """Compare files and folders of the workspace, byte for byte, with the digests that DVC remembers of them.

        DVC looks at a file again when its size or time is another one. The digests of those that changed without that
        are corrected, so that they count as changed from now on.

        Args:
            paths: relative to the project.

        Returns:
            The files whose digest was another one, relative to the project.
        """
        with self._reading():
            root = Path(self._repo.root_dir)
            changed = forget_changed(self._repo, [root / path for path in paths])
            if changed:
                last_look.forget(self._project)
                self._repo._reset()
            return [Path(os.path.relpath(file, root)).as_posix() for file in changed]

    def commit(self, address: str) -> None:
        """Store the outputs that lie in the workspace, and record the stage in dvc.lock.

        Raises:
            ProjectError: no space is left, or another DVC process holds the lock.
        """
        with self._locked():
            self._record(address)

    def fetch(self, md5: str, target: Path, *, what: str) -> None:
        """Write the file or folder with a digest to ``target``, from the cache or else from the remote.

        Every byte is compared with its digest, wherever it came from; DVC trusts a remote. What does not match is
        removed from the cache, so that it is asked for again.

        Args:
            md5: as dvc.lock holds it; a folder's ends in ``.dir``.
            target: must not exist.
            what: names it in messages.

        Raises:
            ProjectError: neither the cache nor a remote holds it.
            CheckFailed: what they hold is something else.
        """
        with self._locked():
            source = self._object(md5, what=what)
            if not md5.endswith(".dir"):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                return
            for entry in json.loads(source.read_text(encoding="utf-8")):
                file = target.joinpath(*_parts(entry["relpath"]))
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._object(entry["md5"], what=f"{what}: {entry['relpath']}"), file)

    def push(self, digests: Sequence[str]) -> None:
        """Send files and folders to the remote.

        Raises:
            ProjectError: there is no remote, or it does not take them.
        """
        with self._locked(), silent():
            # DVC's push sends the list of a folder's files without the files.
            listed = [
                entry["md5"]
                for md5 in digests
                if md5.endswith(".dir")
                for entry in json.loads(self._object(md5, what=md5).read_text(encoding="utf-8"))
            ]
            failed = self._repo.cloud.push([HashInfo("md5", md5) for md5 in [*digests, *listed]]).failed
            if failed:
                raise ProjectError(f"the DVC remote did not take {len(failed)} files; try `dvc push`")

    @property
    def remote(self) -> tuple[str, dict[str, str]] | None:
        """Name and settings of the default remote without its keys, see ``engines.remote``."""
        return remote_of(self._repo)

    @property
    def cache(self) -> Path:
        """The folder of the cache."""
        return Path(self._repo.cache.local_cache_dir).resolve()

    @property
    def has_shared_cache(self) -> bool:
        """Whether the cache lies outside of the project."""
        return dvc_gc.is_shared(self._repo)

    def unused_objects(self, keep: Iterable[str]) -> dict[Path, int]:
        """Return path -> bytes of the objects that nothing refers to, see ``dvc_gc``.

        Raises:
            ProjectError: a commit's files cannot be read.
        """
        with self._locked(), silent():
            return dvc_gc.unused_objects(self._repo, keep)

    def remove_objects(self, keep: Iterable[str], paths: Iterable[Path]) -> None:
        """Remove those of some objects that nothing refers to, see ``dvc_gc``."""
        with self._locked(), silent():
            dvc_gc.remove_objects(self._repo, keep, paths)

    def _object(self, md5: str, *, what: str) -> Path:
        """Return the path of a verified object in the cache."""
        path = Path(self._repo.cache.local.oid_to_path(md5))
        if not path.is_file():
            self._pull(md5, path, what=what)
        found = md5_of(path)
        if found != md5.removesuffix(".dir"):
            remove(path)
            raise CheckFailed(f"{what}: DVC's store holds another file, asked for md5 {md5}, found {found}; refused")
        return path

    def _pull(self, md5: str, path: Path, *, what: str) -> None:
        try:
            with silent() as errors:
                self._repo.cloud.pull([HashInfo("md5", md5)])
        except NoRemoteError as error:
            raise ProjectError(
                f"{what} (md5 {md5}) is not in DVC's cache, and no remote is set; add one: `dvc remote add --default`"
            ) from error
        except ObjectFormatError as error:
            raise CheckFailed(f"{what}: the DVC remote holds a damaged list of files; refused") from error
        except FileNotFoundError:
            logger.debug("the remote has no %s", md5)
        if path.is_file():
            return
        if errors and not isinstance(errors[0], FileNotFoundError):
            raise ProjectError(
                f"{what} (md5 {md5}) cannot be had: the DVC remote did not do what it was asked for: "
                f"{_line(errors[0]) or type(errors[0]).__name__}; the same command goes on"
            )
        raise ProjectError(
            f"{what} (md5 {md5}) is neither in DVC's cache nor in its remote; `dvc push` where it was made, or "
            "check the remote: `dvc remote list`"
        )

    def _cached(self, stage: Any) -> Any:
        """Return a stage whose outputs the cache holds for today's inputs, or None.

        Changes ``stage``, which the caller must not use again.
        """
        cache = self._repo.stage_cache
        if not stage.outs or not all(dependency.exists for dependency in stage.deps) or not _can_hash(stage):
            return None
        if not _status(stage).inputs_changed and all(out.hash_info for out in stage.outs):
            entry = to_single_stage_lockfile(stage)
        else:
            # `restore(dry=True)` would look under the recorded dependencies rather than today's.
            stage.save_deps()
            # A kill or a full disk leaves a folder without an entry, of which DVC wants the newest one.
            with suppress(OSError):
                Path(cache._get_cache_dir(_get_stage_hash(stage))).rmdir()
            entry = cache._load(stage)
        cached = None if entry is None else cache._create_stage(entry, wdir=stage.wdir)
        return cached if cached is not None and cached.outs_cached() else None

    def _is_damaged(self, cached: Any) -> bool:
        dropped = [out.def_path for out in cached.outs if drop_damaged(self._repo.cache.local, [out.hash_info.value])]
        if dropped:
            logger.warning(
                "DVC's cache held damaged bytes of %s; they are removed from it and not used", ", ".join(dropped)
            )
        return bool(dropped)

    def _record(self, address: str) -> None:
        remove_temporary(Path(out.fs_path) for out in self._stage(address).outs)
        with dvc_lock.written_whole():
            self._repo.commit(address, force=True)
        dvc_lock.keep(self._project)

    def _stages(self) -> dict[str, Any]:
        """Return address -> stage of the project's own dvc.yaml; a source under ``dvc add`` is no stage of ours."""
        return {
            stage.name: stage
            for stage in self._repo.index.stages
            if isinstance(stage, PipelineStage) and stage.path_in_repo == PROJECT_FILE
        }

    def _stage(self, address: str) -> Any:
        """Return one stage as the files say it now; DVC's index would make all others too, ten times the work."""
        try:
            return self._file().stages[address]
        except (StageNotFound, StageFileDoesNotExistError) as error:
            raise ProjectError(f"{address} is not in dvc.yaml; run `secateur plan`, which renders it anew") from error

    def _file(self) -> Any:
        return load_file(self._repo, str(Path(self._repo.root_dir) / PROJECT_FILE))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Look at the workspace without DVC's lock: also possible while ``dvc repro`` runs us."""
        with _as_project_errors(self._project), chdir(self._project.root):
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # DVC takes names and its scratch files to be relative to the current folder, which may be a deeper one.
        with self._reading():
            if is_read_only(self._project):
                self._repo._reset()  # nobody can write what would have to be locked
                yield
                return
            with _repaired(self._project), lock_repo(self._repo):
                yield


@contextmanager
def _repaired(project: Project) -> Iterator[None]:
    """Remove what a killed process left half written: both files are rebuilt without recomputing anything."""
    rwlock = project.root / ".dvc" / "tmp" / "rwlock"
    if rwlock.exists() and not _parses_as_json(rwlock):
        logger.warning("removing %s, which a killed process left half written", rwlock.name)
        remove(rwlock)
    yield


def _parses_as_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


@contextmanager
def _as_project_errors(project: Project) -> Iterator[None]:
    try:
        yield
    except LockError as error:
        raise ProjectError(f"another DVC process holds {project.root}; wait for it to end") from error
    except YAMLFileCorruptedError as error:
        raise ProjectError(_line(error)) from error
    except (RWLockFileCorruptedError, RWLockFileFormatError) as error:
        raise ProjectError(f"{_line(error)}; delete .dvc/tmp/rwlock") from error
    except (DvcException, OSError) as error:
        if _is_full(error):
            raise ProjectError(
                f"no space left on the device while DVC worked in {project.root}; what it had recorded before is kept"
            ) from error
        if isinstance(error, OSError):
            raise
        raise ProjectError(f"DVC: {_line(error)}") from error


def _is_full(error: BaseException | None) -> bool:
    """Tell whether a full device is behind an error; DVC takes it for a missing kind of link."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        error = error.__cause__ or error.__context__
    return False


def _parts(relative: str) -> tuple[str, ...]:
    """Return the parts of a path inside a folder; a list of files from a remote is not trusted."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts:
        raise CheckFailed(f"the DVC store lists a file outside its folder: {relative!r}")
    return parts


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _identity(stage: Any) -> Identity:
    """Digest what decides the outputs of a stage now."""
    dependencies: dict[str, str] = {}
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            continue
        if not dependency.exists:
            raise ProjectError(f"{stage.name} needs {dependency.def_path}, which does not exist")
        dependencies[dependency.def_path] = str(dependency.get_hash().value)
    parameters, code = _named(stage, lambda dependency: dependency.read_params())
    return Identity(stage.name, stage.cmd, dependencies, parameters, code)


def _named(stage: Any, values: Callable[[Any], Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the parameters of a stage, dotted name -> value, and the digest of its code."""
    parameters: dict[str, Any] = {}
    code = ""
    for dependency in stage.deps:
        if dependency.def_path == CODE_LOCK:
            code = str(next(iter(values(dependency).values()), ""))
        elif isinstance(dependency, ParamsDependency):
            parameters.update(values(dependency))
    return parameters, code


def _status(stage: Any) -> Status:
    """Compare one stage with dvc.lock; the caller holds the lock."""
    dependencies: dict[str, str] = {}
    parameters: list[str] = []
    code = False
    for dependency in stage.deps:
        found = dependency.status()
        if not found:
            continue
        if dependency.def_path == CODE_LOCK:
            code = True
        elif isinstance(dependency, ParamsDependency):
            changes = next(iter(found.values()))
            parameters.extend(changes if isinstance(changes, dict) else dependency.params)
        else:
            dependencies[dependency.def_path] = str(next(iter(found.values())))
    outputs: dict[str, str] = {}
    for out in stage.outs:
        for state in out.status().values():
            outputs[out.def_path] = str(state)
    recorded = [entry for entry in (*stage.deps, *stage.outs) if entry.hash_info.value is not None]
    return Status(
        new=not recorded,
        command=stage.changed_stage(),
        code=code,
        dependencies=dependencies,
        parameters=tuple(sorted(parameters)),
        outputs=outputs,
    )

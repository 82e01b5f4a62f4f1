"""The workspace: where it is, which of its files count, and who is working in it."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from secateur.errors import Occupied, ProjectError
from secateur.files import NO_SPACE
from secateur.workflow.full_form import KINDS, is_own
from secateur.workflow.stage import CONSTRAINTS

IDENTITY = ("secateur", "pyproject.toml", CONSTRAINTS, "params.yaml", "dvc.yaml", "code.lock")
"""What makes a tree dirty, with the project's own flows and stages; dvc.lock and reports are outputs of a run."""

_RUN_LOCK = "run.lock"

REBUILD_PREFIX = "secateur-reproduce-"
"""Of the temporary folders of rebuilds, by which the leftovers of a killed one are known."""

REBUILD_LOCK = "reproduce.lock"
"""In the state of the project; held while a rebuild runs."""


@dataclass(frozen=True)
class Project:
    """A folder with ``dvc.yaml`` and ``params.yaml``.

    Attributes:
        root: the folder.
        holder: number of the process that works in it while this one only looks: nothing may be written then.
    """

    root: Path
    holder: str | None = None

    @property
    def params_file(self) -> Path:
        """The parameters of the next run."""
        return self.root / "params.yaml"

    @property
    def pipeline_file(self) -> Path:
        """The stage graph for DVC, rendered from the stage registry."""
        return self.root / "dvc.yaml"

    @property
    def constraints_file(self) -> Path:
        """The pinned environment; a project need not have it."""
        return self.root / CONSTRAINTS

    @property
    def state(self) -> Path:
        """What may be deleted at any time: indices, code snapshots, locks."""
        return self.root / ".secateur"

    @property
    def home(self) -> Path:
        """The root, or that of the project which runs us as a temporary experiment (``dvc exp run --temp``)."""
        for parent in self.root.parents:
            if parent.name == "exps" and parent.parent.name == "tmp" and parent.parent.parent.name == ".dvc":
                return parent.parent.parent.parent
        return self.root


def find_project(start: Path | None = None) -> Project:
    """Return the project that holds the current folder.

    Raises:
        ProjectError: no parent folder has both files, or it is not under git.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if is_project(folder):
            if not _is_under_git(folder):
                raise ProjectError(f"{folder} is not a git repository; run `git init` there first (DVC needs one)")
            return Project(folder)
    raise ProjectError(
        f"no project here: neither {here} nor a folder above it has dvc.yaml and params.yaml; `secateur init` makes one"
    )


def is_project(folder: Path) -> bool:
    """Tell whether a folder is a project, whatever it is in."""
    return (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file()


def _is_under_git(folder: Path) -> bool:
    """Tell whether DVC can work in a folder: it holds a git repository, or is a part of one and has a ``.dvc``."""
    above = folder.parents if (folder / ".dvc").is_dir() else ()
    return any((place / ".git").exists() for place in (folder, *above))


_RUN_NOTHING = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
"""A folder brings its own ``.git``: looking at it must not run the programs that it names."""

_COUNT = "GIT_CONFIG_COUNT"


def git(root: Path, *arguments: str, hooks: bool = False) -> str:
    """Return what a git command prints.

    Args:
        root: folder of the repository.
        arguments: of git.
        hooks: let the repository's hooks and filters run: for a commit that its owner asks for by name, and whose rules
            they are.

    Raises:
        ProjectError: git is missing or refused the command.
    """
    try:
        completed = subprocess.run(
            ["git", "-C", str(root), *(_RUN_NOTHING[:2] if hooks else _RUN_NOTHING), *arguments],
            env=None if hooks else os.environ | _without_filters(root),
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise ProjectError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        raise ProjectError(f"git {arguments[0]} failed: {error.stderr.strip().splitlines()[-1:] or ''}") from error
    return completed.stdout


def _without_filters(root: Path) -> dict[str, str]:
    """Return variables under which git runs no filter that a repository's own configuration names.

    A filter of the user's own (git-lfs) stays. By variables, since a name may hold what separates names on a command
    line.
    """
    asked = ["git", "-C", str(root), "config", "-z", "--show-scope", "--name-only", "--get-regexp", r"^filter\."]
    fields = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\0")[:-1]
    scopes, names = fields[::2], fields[1::2]
    given = {name for scope, name in zip(scopes, names, strict=True) if scope in ("local", "worktree")}
    first = int(os.environ.get(_COUNT) or 0)
    variables = {_COUNT: str(first + len(given))} if given else {}
    for number, name in enumerate(sorted(given), start=first):
        variables[f"GIT_CONFIG_KEY_{number}"] = name
        variables[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.endswith(".required") else ""
    return variables


def commit_of(root: Path) -> str | None:
    """Return the commit of the workspace, or None before the first one."""
    try:
        return git(root, "rev-parse", "HEAD").strip()
    except ProjectError:
        return None


def dirty_files(root: Path) -> list[str]:
    """List the changed files that decide a result: code, params.yaml, dvc.yaml and code.lock."""
    present = [name for name in IDENTITY if (root / name).exists()] + [kind for kind in KINDS if is_own(root, kind)]
    if not present:
        return []
    return [line[3:] for line in git(root, "status", "--porcelain", "--", *present).splitlines()]


def is_read_only(project: Project) -> bool:
    """Tell whether nothing may be written in a project: by its file system, its permissions, or who works in it."""
    return project.holder is not None or not os.access(project.root, os.W_OK)


@contextmanager
def looking(project: Project) -> Iterator[Project]:
    """Yield the workspace for a command that only looks: held, unless nothing can be written or another one holds it.

    What is yielded in the last case has a ``holder``, and is read only.
    """
    with ExitStack() as stack:
        if not is_read_only(project):
            try:
                stack.enter_context(exclusive(project))
            except Occupied:
                project = replace(project, holder=_holder_of(project.state / _RUN_LOCK))
        yield project


def _holder_of(lock: Path) -> str:
    return lock.read_text(encoding="utf-8").strip() or "unknown"


@contextmanager
def exclusive(project: Project) -> Iterator[None]:
    """Hold the workspace for one run.

    Raises:
        Occupied: another command holds it.
        ProjectError: nothing can be written here.
    """
    taken = f"another command (process {{holder}}) holds {project.root}; wait for it to end, or stop it"
    with locked(project, _RUN_LOCK, taken=taken):
        yield


@contextmanager
def locked(project: Project, name: str, *, taken: str) -> Iterator[None]:
    """Hold a lock of the project. The kernel releases it when the holder dies, also by kill -9.

    Args:
        project: of the lock.
        name: of its file, in the project's state.
        taken: what to say where another process has it, whose number stands for ``{holder}``.

    Raises:
        Occupied: another process has it.
        ProjectError: nothing can be written here.
    """
    path = project.state / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ProjectError(f"no space left on the device that holds {project.root}; nothing was run") from error
        raise ProjectError(f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Occupied(taken.replace("{holder}", _holder_of(path))) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def command_line_of(root: Path) -> str:
    """Return the module of the command line in the code below ``root``; up to 0.3 it lay in ``flows``."""
    return "flows.cli" if (root / "flows/cli/__main__.py").is_file() else "secateur.cli"

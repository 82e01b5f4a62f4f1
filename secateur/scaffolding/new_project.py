"""The files of a new project: all of them at the end of a call, or none."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from secateur.config.schema import RunConfig
from secateur.errors import ProjectError
from secateur.files import remove, replacing, sync, write_bytes, write_text
from secateur.scaffolding.copying_out import copy_out
from secateur.workflow.full_form import KINDS, is_own
from secateur.workflow.project import Project, git
from secateur.workflow.rendering import update_pipeline
from secateur.workflow.stages import stages

_DVC = {
    ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
}
_DVCIGNORE = "# Files that DVC does not look at; https://dvc.org/doc/user-guide/dvcignore\n.venv/\n"
_IGNORED = (
    "/.secateur/", "/mlflow.db*", "/mlruns/", "/dvc_plots/", "/data/", "/models/", "/reports/*",
    "!/reports/metrics.json", "/.venv/",
)  # fmt: skip
_OURS = "# Rendered from secateur/"
"""How a dvc.yaml begins that we have written; alone, without params.yaml, it is what a killed `init` left."""


def check_folder(root: Path) -> None:
    """Refuse a folder that cannot become a project; an empty one, an absent one and a git repository can.

    Raises:
        ProjectError: it is a file, lies inside a git repository, or holds a project or a pipeline already.
    """
    if root.exists() and not root.is_dir():
        raise ProjectError(f"{root} is a file; name a folder")
    if not (root / ".git").exists():
        above = next((folder for folder in root.parents if (folder / ".git").exists()), None)
        if above is not None:
            raise ProjectError(
                f"{root} lies inside the git repository {above}, and a project is a repository of its own: "
                f"`secateur init {above}`, or a folder outside"
            )
    pipeline = root / "dvc.yaml"
    own = [kind for kind in KINDS if is_own(root, kind)]  # which this would have to import
    if not own and not (root / "params.yaml").exists() and pipeline.is_file() and _starts(pipeline, _OURS):
        return
    found = [name for name in ("params.yaml", "dvc.yaml", "dvc.lock", "code.lock") if (root / name).exists()]
    if found := [*found, *own]:
        raise ProjectError(f"{root} has {' and '.join(found)} already, and nothing is overwritten; name another folder")


def check_outputs(root: Path, config: RunConfig) -> None:
    """Refuse a folder where a stage would replace what somebody else has put there.

    Raises:
        ProjectError: naming the first such file or folder.
    """
    for stage in stages(config, root):
        written = [output.path for output in stage.outputs.values()] + list(stage.effects.values())
        taken = next((path for path in written if (root / path).exists()), None)
        if taken is not None:
            raise ProjectError(
                f"{root} has {taken} already, which stage {stage.name} would replace; move it away, or name another "
                "folder"
            )


def write_project(
    root: Path, *, config: RunConfig, params: str, copies: Mapping[str, Path], full: bool = False
) -> None:
    """Make the project; params.yaml comes last, and what was written goes again when something fails.

    Args:
        root: the folder, checked before.
        config: the content of ``params``.
        params: the text of params.yaml.
        copies: name in the folder -> the file that is copied there.
        full: give it flows and stages of its own, once it is a project.

    Raises:
        ProjectError: git is missing, or nothing can be written there.
    """
    try:
        with _undone_on_failure(root, also=list(copies)):
            root.mkdir(parents=True, exist_ok=True)
            if not (root / ".git").exists():
                git(root, "init", "--quiet")
            for name, text in {**_DVC, ".dvcignore": _DVCIGNORE}.items():
                if not (root / name).exists():
                    write_text(root / name, text)
            _ignore(root / ".gitignore")
            for name, origin in copies.items():
                with replacing(root / name) as temporary:
                    shutil.copyfile(origin, temporary)
                    sync(temporary)
            update_pipeline(Project(root), config)
            write_text(root / "params.yaml", params)
            if full:
                copy_out(root)
    except PermissionError as error:
        raise ProjectError(f"{error.filename or root}: nothing can be written there") from error


def _ignore(file: Path) -> None:
    """Add what is missing, and change nothing that is there."""
    before = file.read_bytes() if file.exists() else b""
    known = {line.strip().strip(b"/") for line in before.splitlines()}
    missing = [line for line in _IGNORED if line.strip("/").encode() not in known]
    if not missing:
        return
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    write_bytes(file, before + gap + "\n".join(["# secateur: what a run makes", *missing, ""]).encode())


@contextmanager
def _undone_on_failure(root: Path, *, also: Sequence[str]) -> Iterator[None]:
    """Remove what a failed call has made: the folder, or its new files, and put .gitignore back."""
    was_there = root.exists()
    files = ("code.lock", "dvc.yaml", "params.yaml")
    made = [".git", ".secateur", ".dvc", ".dvcignore", ".gitignore", *files, *KINDS, *also]
    absent = [name for name in made if not (root / name).exists()]
    gitignore = root / ".gitignore"
    before = gitignore.read_bytes() if gitignore.is_file() else None
    try:
        yield
    except BaseException:
        if not was_there:
            remove(root)
        else:
            for name in absent:
                remove(root / name)
            if before is not None:
                gitignore.write_bytes(before)
        raise


def _starts(file: Path, text: str) -> bool:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(len(text)) == text

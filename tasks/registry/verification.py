"""Are the files of a version still those that were registered, and who says so?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.errors import CheckFailed
from secateur.files import sha256_file
from tasks.model_source import FileCheck, Resolved, check_files, resolve
from tasks.project import Project

if TYPE_CHECKING:
    from tasks.mlflow_store import ModelRegistry

WRAPPER_TAG = "secateur.wrapper"
_MLMODEL = "MLmodel"


def checks_of(resolved: Resolved) -> list[FileCheck]:
    """Compare every file of a version with its digest: both folders, and what MLflow put around them.

    ``resolved`` may come from ``resolve(..., verify=False)``. Versions from before there was a tag for the latter are
    checked without it.
    """
    return [*_wrapper_checks(resolved), *check_files(resolved)]


def require_intact(project: Project, reference: str, *, registry: "ModelRegistry") -> Resolved:
    """Return where a registered version lies, every file of it checked.

    Raises:
        CheckFailed: a file is missing, differs from its digest or was added; it is named.
        ModelError: no such model, alias or version.
    """
    resolved = resolve(project, reference, registry=registry)
    for check in _wrapper_checks(resolved):
        if check.problem is not None:
            raise CheckFailed(f"{resolved.label}: {check.problem}; nothing was loaded; restore or rebuild the model")
    return resolved


def _wrapper_checks(resolved: Resolved) -> Iterator[FileCheck]:
    root = _root(resolved.checkpoint)
    listed = json.loads(resolved.tags.get(WRAPPER_TAG, "{}"))
    for name, digest in sorted(listed.items()):
        file = root / name
        yield FileCheck(file, digest, sha256_file(file) if file.is_file() else None)


def _root(checkpoint: Path) -> Path:
    """Return the folder of a version, which holds MLflow's description of it."""
    return next((folder for folder in checkpoint.parents if (folder / _MLMODEL).is_file()), checkpoint.parent)

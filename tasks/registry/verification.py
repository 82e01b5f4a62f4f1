"""Are the files of a version still those that were registered, and who says so?"""

from typing import TYPE_CHECKING

from tasks.model_source import WRAPPER_TAG, FileCheck, Resolved, check_files, resolve
from tasks.project import Project

if TYPE_CHECKING:
    from tasks.mlflow_store import ModelRegistry


def checks_of(resolved: Resolved) -> list[FileCheck]:
    """Compare every file of a version with its digest: both folders, and what MLflow put around them.

    ``resolved`` may come from ``resolve(..., verify=False)``. Versions from before there was a tag for the latter are
    checked without it.
    """
    return check_files(resolved)


def require_intact(project: Project, reference: str, *, registry: "ModelRegistry") -> Resolved:
    """Return where a registered version lies, every file of it checked.

    Raises:
        CheckFailed: a file is missing, differs from its digest or was added; it is named.
        ModelError: no such model, alias or version.
    """
    return resolve(project, reference, registry=registry)

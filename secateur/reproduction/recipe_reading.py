"""The recipe of a registered version, read from the registry and held against what signed it."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ruamel.yaml.error import YAMLError

from secateur.errors import CheckFailed, ProjectError
from secateur.files import sha256_file
from secateur.registry.mlflow_runs import download_run_files
from secateur.registry.tags import DIRTY_FILES, FILES, FINGERPRINT, STAGE, sha256_of
from secateur.reproduction.recipe import LOCK, PARAMS, Recipe
from secateur.workflow.project import Project, git
from secateur.yaml_text import read_yaml

if TYPE_CHECKING:
    from secateur.registry.mlflow_store import ModelRegistry

_ADDRESS = re.compile(r"[a-z]\w*(@\w[\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def read_recipe(project: Project, registry: "ModelRegistry", reference: str, *, into: Path) -> Recipe:
    """Read how a version was made, and refuse one that cannot be rebuilt.

    Args:
        project: whose git repository holds the commit.
        registry: where the version is.
        reference: ``models:/name@alias`` or ``models:/name/3``.
        into: a new folder for the files that the run kept.

    Raises:
        ModelError: no such version.
        ProjectError: it was made from a dirty tree, or its commit or files are gone.
        CheckFailed: what was kept is not what the version says.
    """
    entry = registry.version(reference)
    named, tags = entry.reference, entry.tags
    if not tags.is_reproducible:
        dirty = tags.get(DIRTY_FILES)
        why = f"{dirty} had not been committed" if dirty else "it does not say from which commit"
        raise ProjectError(f"{named} cannot be rebuilt: when it was made, {why}; commit, and run again")
    _require_commit(project, named, tags.commit or "none")
    download_run_files(registry, str(entry.run), into)
    for name in (LOCK, PARAMS):
        file, digest = into / name, tags.get(sha256_of(name))
        if not file.is_file():
            raise ProjectError(f"{named} cannot be rebuilt: its run kept no {name}")
        if sha256_file(file) != digest:
            raise CheckFailed(f"{named}: the {name} that its run kept differs from the digest in its tags; refused")
    try:
        recipe = Recipe(
            name=entry.name,
            version=entry.version,
            stage=tags[STAGE],
            commit=tags.commit,
            files=json.loads(tags[FILES]),
            fingerprint=json.loads(tags[FINGERPRINT]),
            metrics=entry.metrics,
            lock=read_yaml((into / LOCK).read_text(encoding="utf-8"))["stages"],
            kept=into,
        )
        _require_plain_names(named, recipe)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, YAMLError) as error:
        raise CheckFailed(f"{named}: its tags and the {LOCK} of its run do not say how it was made") from error
    return recipe


def _require_plain_names(named: str, recipe: Recipe) -> None:
    """Refuse addresses that are more than a name, and paths that lead out of a worktree: others may write both.

    Raises:
        CheckFailed: there is one.
    """
    paths = [out["path"] for entry in recipe.lock.values() for out in entry.get("outs", [])]
    wrong = [name for name in (*recipe.lock, recipe.stage) if not _ADDRESS.fullmatch(name)]
    wrong += [path for path in paths if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts]
    if wrong or recipe.stage not in recipe.lock:
        said = wrong[0] if wrong else f"{recipe.stage}, which it does not hold"
        raise CheckFailed(f"{named}: the {LOCK} that its run kept names {said}; refused")


def _require_commit(project: Project, named: str, commit: str) -> None:
    if not _COMMIT.fullmatch(commit):
        raise ProjectError(f"{named} cannot be rebuilt: the tag secateur.commit holds {commit!r}, which is no commit")
    try:
        git(project.root, "cat-file", "-e", f"{commit}^{{commit}}")
    except ProjectError as error:
        raise ProjectError(
            f"{named} was made from commit {commit[:12]}, which this repository does not have; `git fetch` it first"
        ) from error

"""What a rebuild of a registered version starts from: all that it says of how it was made."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from secateur.errors import CheckFailed, ProjectError
from secateur.files import sha256_file
from secateur.registry.mlflow_runs import download_run_files
from secateur.registry.tags import DIRTY_FILES, FILES, FINGERPRINT, STAGE, sha256_of
from secateur.workflow.project import Project, git
from secateur.yaml_text import read_yaml

if TYPE_CHECKING:
    from secateur.registry.mlflow_store import ModelRegistry

LOCK = "dvc.lock"
PARAMS = "params.yaml"
_ADDRESS = re.compile(r"[a-z]\w*(@\w[\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Recipe:
    """Everything that a registered version says about how it was made.

    Attributes:
        name: of the registered model.
        version: its number.
        stage: address of the stage that made the checkpoint.
        commit: of the code.
        files: file of the checkpoint -> sha256.
        fingerprint: of the environment.
        metrics: of the evaluation.
        lock: content of dvc.lock.
        kept: folder with the files that the run kept.
    """

    name: str
    version: str
    stage: str
    commit: str
    files: Mapping[str, str]
    fingerprint: Mapping[str, Any]
    metrics: Mapping[str, float]
    lock: Mapping[str, Any]
    kept: Path

    @property
    def checkpoint(self) -> str:
        """Path of the checkpoint in the workspace."""
        return "models/" + self.stage.rpartition("@")[2]

    def stages(self) -> list[str]:
        """Return the stages between the copied source and the checkpoint, in running order."""
        makers = {out["path"]: address for address, entry in self.lock.items() for out in entry.get("outs", [])}
        ordered: list[str] = []

        def visit(address: str) -> None:
            for dependency in self.lock[address].get("deps", []):
                maker = makers.get(dependency["path"].removesuffix("/card.json"))
                if maker is not None and maker != "ingest" and maker not in ordered:
                    visit(maker)
            if address not in ordered:
                ordered.append(address)

        visit(self.stage)
        return ordered

    def sources(self) -> dict[str, str]:
        """Return path -> md5 of what ``ingest`` copied: the data version and the pretrained model."""
        return {out["path"]: out["md5"] for out in self.lock["ingest"]["outs"]}

    def digest_of(self, path: str) -> str | None:
        """Return the md5 under which any stage depended on a file."""
        for entry in self.lock.values():
            for dependency in entry.get("deps", []):
                if dependency["path"] == path:
                    return str(dependency["md5"])
        return None


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

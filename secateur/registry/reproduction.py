"""What a rebuild of a registered version starts from, and what it is compared with."""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed, ProjectError
from secateur.evaluation.findings import same_answer
from secateur.files import sha256_file
from secateur.kinds.registry import kind_named
from secateur.models.card import CARD
from secateur.registry.mlflow_runs import download_run_files
from secateur.registry.model_source import kind_of
from secateur.registry.tags import DATA_REPORT, DIRTY_FILES, FILES, FINGERPRINT, STAGE, sha256_of
from secateur.workflow.project import Project, git
from secateur.yaml_text import read_yaml

if TYPE_CHECKING:
    from secateur.registry.mlflow_store import ModelRegistry

LOCK = "dvc.lock"
PARAMS = "params.yaml"
_ADDRESS = re.compile(r"[a-z]\w*(@\w[\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#]+)")


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


def different_packages(constraints: Path) -> list[str]:
    """Name the pinned packages that are installed in another version; nothing where nothing is pinned."""
    if not constraints.is_file():
        return []
    lines = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if pin := _PIN.match(line.strip()):
            try:
                found = importlib.metadata.version(pin[1])
            except importlib.metadata.PackageNotFoundError:
                continue  # an extra that is not needed here
            if found.partition("+")[0] != pin[2].partition("+")[0]:
                lines.append(f"{pin[1]}: {pin[2]} -> {found}")
    return lines


def different_environment(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two fingerprints; what an earlier version did not record is not known to differ."""
    return [f"{name}: {was} -> {now.get(name)}" for name, was in sorted(recorded.items()) if was != now.get(name)]


def different_files(checkpoint: Path, files: Mapping[str, str]) -> list[str]:
    """Name the files of a checkpoint that differ from their digests, are missing or were added (but for the card)."""
    found = {
        file.relative_to(checkpoint).as_posix(): sha256_file(file)
        for file in sorted(checkpoint.rglob("*"))
        if file.is_file() and file.name != CARD
    }
    return [name for name in sorted({*files, *found}) if files.get(name) != found.get(name)]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows.

    Attributes:
        rows: how many.
        metrics: name -> value of the registered and of the rebuilt model; of generators ``char_loss``, nats per
            character.
        agreement: share of rows on which both say the same label, or for which generators have the same loss per
            character within 0.01 nats.
    """

    rows: int
    metrics: Mapping[str, tuple[float, float]]
    agreement: float

    def within(self, tolerance: float) -> bool:
        """Tell whether no metric differs by more than ``tolerance``."""
        return all(abs(one - other) <= tolerance for one, other in self.metrics.values())


def compare_models(registered: Path, rebuilt: Path, *, test: Path, labels: Path) -> Comparison:
    """Let two checkpoints answer the test rows.

    Args:
        registered: a verified folder.
        rebuilt: another one.
        test: Parquet with ``text`` and ``label``.
        labels: JSON list of names in index order.
    """
    kind = kind_named(kind_of(registered))
    one, other = (kind.answer_again(folder, test=test, labels=labels) for folder in (registered, rebuilt))
    return Comparison(
        rows=len(one.per_row),
        metrics={name: (one.values[name], other.values[name]) for name in one.values},
        agreement=sum(map(same_answer, one.per_row, other.per_row)) / len(one.per_row),
    )


@dataclass(frozen=True)
class ScoredAgain:
    """An unchanged champion, looked at again: what is wrong with it, or its score in words."""

    problem: str | None
    summary: str = ""


def score_again(project: Project, registry: "ModelRegistry", config: RunConfig, *, version: str) -> ScoredAgain:
    """Check every file of a version and score its deployed form on the test rows of this workspace.

    The score is compared with the registered one where the version was evaluated on these rows.
    """
    from secateur.registry.model_source import resolve

    reference = f"models:/{config.register_.model_name}/{version}"
    try:
        resolved = resolve(project, reference, registry=registry)
    except CheckFailed as error:
        return ScoredAgain(str(error))
    clean = project.root / "data" / "clean"
    test, labels = clean / "test.parquet", clean / "labels.json"
    kind = kind_named(kind_of(resolved.checkpoint))
    found = kind.answer_again(resolved.folder, test=test, labels=labels)
    said = found.said
    data = project.root / "reports" / "data.json"
    same_rows = hashlib.md5(data.read_bytes(), usedforsecurity=False).hexdigest() == resolved.tags.get(DATA_REPORT)
    registered = kind.registered_score(registry.version(reference).metrics)
    if not same_rows or registered is None:
        return ScoredAgain(None, said)
    if abs(found.value - registered) > config.retrain.metric_tolerance:
        return ScoredAgain(
            f"its {said} is not the {registered:.4f} that was registered "
            f"(retrain.metric_tolerance={config.retrain.metric_tolerance:g})"
        )
    return ScoredAgain(None, f"{said}, registered {registered:.4f}")


def _require_commit(project: Project, named: str, commit: str) -> None:
    if not _COMMIT.fullmatch(commit):
        raise ProjectError(f"{named} cannot be rebuilt: the tag secateur.commit holds {commit!r}, which is no commit")
    try:
        git(project.root, "cat-file", "-e", f"{commit}^{{commit}}")
    except ProjectError as error:
        raise ProjectError(
            f"{named} was made from commit {commit[:12]}, which this repository does not have; `git fetch` it first"
        ) from error

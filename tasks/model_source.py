"""From what a user names, a folder or ``models:/name@alias``, to files on this machine whose digests were checked.

Nothing is loaded here, and neither torch nor transformers is imported for a registered model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from secateur.config.evaluate import Runtime
from secateur.config.run import Task
from secateur.errors import CheckFailed, CheckpointError, ModelError
from secateur.files import replacing, sha256_file, to_json
from tasks.project import Project, find_project

if TYPE_CHECKING:
    from tasks.mlflow_store import ModelRegistry

SCHEME = "models:/"
FILES_TAG = "secateur.files"
ARTIFACTS_TAG = "secateur.artifacts"
"""Every file of a version, the cards and the deployed form included: path in the version -> sha256, as JSON."""

WRAPPER_TAG = "secateur.wrapper"
"""The files that MLflow puts around the folders of a version: name -> sha256, as JSON."""

_CARD = "card.json"
_DESCRIPTION = "MLmodel"
_CHAMPION = "champion"
_CARD_TAGS = {
    "secateur.key": "key",
    "secateur.stage": "stage",
    "secateur.state": "state",
    "secateur.weights_sha256": "weights_sha256",
    "secateur.inputs": "inputs",
    "secateur.fingerprint": "fingerprint",
}


@dataclass(frozen=True)
class Resolved:
    """A model that lies on this machine.

    Attributes:
        name: of the registered model, or of the folder.
        version: its number in the registry; None for a folder.
        checkpoint: the checkpoint folder; for a plain ONNX export, that folder.
        deployed: the folder that the runtime reads, where the version stores one beside its checkpoint.
        runtime: what it predicts with.
        tags: of the registered version; empty for a folder.
    """

    name: str
    version: str | None
    checkpoint: Path
    deployed: Path | None
    runtime: Runtime
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder to load: the deployed form where there is one."""
        return self.deployed or self.checkpoint

    @property
    def label(self) -> str:
        """The model in a few words, for a message."""
        return self.name if self.version is None else f"{self.name} version {self.version}"


@dataclass(frozen=True)
class FileCheck:
    """One file against its digest.

    Attributes:
        file: where it lies.
        expected: sha256 in hex; None for a file that nothing lists.
        found: sha256 in hex; None for a missing file.
    """

    file: Path
    expected: str | None
    found: str | None

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None when nothing is."""
        if self.found is None:
            return f"{self.file} is missing"
        if self.expected is None:
            return f"{self.file} belongs to no registered file: somebody added it"
        if self.found != self.expected:
            return f"{self.file} differs from its digest: the file is damaged or was edited"
        return None


def resolve(
    project: Project | None, reference: str, *, verify: bool = True, registry: "ModelRegistry | None" = None
) -> Resolved:
    """Find the files of a model and check every one against its digest, before anything is loaded.

    Files of a store on this machine are used where they lie. Those of a remote store are copied once per version to
    ``.secateur/models/<name>/<version>``; a copy that no longer fits is fetched again.

    Args:
        project: whose registry is asked; None looks for the one around the current folder when the registry is needed.
        reference: a checkpoint or ONNX folder, ``models:/name@alias``, ``models:/name/3`` or ``models:/name``.
        verify: False leaves the digests unread, for ``check_files``.
        registry: an open one, so that asking often costs nothing.

    Raises:
        CheckFailed: a file of a version is missing, differs from its digest or was added; it is named.
        ModelError: no such model, alias or version, or the folder is no checkpoint or not as it was written.
    """
    if not reference.startswith(SCHEME):
        resolved = _folder(Path(reference))
        if verify:
            require_intact(resolved)
        return resolved
    from tasks.mlflow_artifacts import local_folder
    from tasks.mlflow_store import ModelRegistry

    found = registry or ModelRegistry(project := project or find_project())
    project = project or find_project()
    entry = _entry(found, reference)
    local = local_folder(found, entry["name"], entry["version"])
    if local is not None:
        resolved = _registered(local, entry)
        if verify:
            require_intact(resolved)
        return resolved
    return _copied(project, entry, verify=verify)


def check_files(resolved: Resolved) -> list[FileCheck]:
    """Compare every file of a model with the digests of its version's tags and of its cards."""
    folders = [resolved.checkpoint] + ([] if resolved.deployed is None else [resolved.deployed])
    return [*_check_wrapper(resolved), *(check for folder in folders for check in _check_folder(folder, resolved))]


def task_of(checkpoint: Path) -> Task:
    """Return what a verified checkpoint is for."""
    return cast("Task", _read_card(checkpoint / _CARD).get("task", "classification"))


def require_intact(resolved: Resolved) -> None:
    """Refuse a model with a file that is missing, changed or added.

    Raises:
        CheckFailed: of a registered version, naming the file.
        CheckpointError: of a folder that was named, likewise; `inspect` and `export` refuse it alike.
    """
    kind = CheckpointError if resolved.version is None else CheckFailed
    for check in check_files(resolved):
        if check.problem is not None:
            raise kind(f"{resolved.label}: {check.problem}; nothing was loaded; restore or rebuild the model")


def artifact_digests(checkpoint: Path, deployed: Path | None) -> dict[str, str]:
    """Return path -> sha256 of everything a version stores, for ``ARTIFACTS_TAG``: ``<folder>/<file>``."""
    folders = [checkpoint] + ([] if deployed is None else [deployed])
    return {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": sha256_file(file)
        for folder in folders
        for file in _files(folder)
    }


def _folder(folder: Path) -> Resolved:
    from secateur.models.card import read_card

    card = read_card(folder)
    runtime = cast("Runtime", card.get("runtime", "torch"))
    return Resolved(name=str(folder), version=None, checkpoint=folder, deployed=None, runtime=runtime)


def _entry(registry: "ModelRegistry", reference: str) -> dict[str, Any]:
    try:
        return registry.version(reference)
    except ModelError as error:
        if reference.endswith(f"@{_CHAMPION}") and "no such version or alias" in str(error):
            raise ModelError(f"{error}; there is no champion yet: `secateur models promote` makes one") from error
        raise


def _registered(root: Path, entry: Mapping[str, Any]) -> Resolved:
    """Read from a version's own description which folder is what."""
    from ruamel.yaml import YAML

    named = f"models:/{entry['name']}/{entry['version']}"
    description = root / _DESCRIPTION
    if not description.is_file():
        raise CheckFailed(f"{named}: {description} is missing; the files of this version are gone, rebuild the model")
    digest = json.loads(entry["tags"].get(WRAPPER_TAG, "{}")).get(description.name)
    if digest is not None and sha256_file(description) != digest:
        # It says which folders are loaded, so nothing of it is read before its digest is known.
        raise CheckFailed(f"{named}: {description} differs from its digest; restore or rebuild the model")
    values = YAML(typ="safe").load(description.read_text(encoding="utf-8"))
    try:
        artifacts = values["flavors"]["python_function"]["artifacts"]
        folders = {name: _inside(root, artifact["path"]) for name, artifact in artifacts.items()}
        checkpoint = folders["checkpoint"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{named} was not registered by secateur: {description} names no checkpoint") from error
    return Resolved(
        name=entry["name"],
        version=entry["version"],
        checkpoint=checkpoint,
        deployed=folders.get("deployed"),
        runtime=cast("Runtime", entry["tags"].get("secateur.runtime", "torch")),
        tags=entry["tags"],
    )


def _inside(root: Path, path: str) -> Path:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise CheckFailed(f"{root / 'MLmodel'} differs from what was registered: it names {path}, outside its folder")
    return root / relative


def _copied(project: Project, entry: Mapping[str, Any], *, verify: bool) -> Resolved:
    from tasks.mlflow_artifacts import download

    folder = project.state / "models" / entry["name"] / entry["version"]
    if folder.exists():
        resolved = _registered(folder, entry)
        # Only what the registry holds now can say that the registry's files are changed.
        if verify and all(check.problem is None for check in check_files(resolved)):
            return resolved
    with replacing(folder) as fresh:
        download(entry["name"], entry["version"], fresh)
    resolved = _registered(folder, entry)
    if verify:
        require_intact(resolved)
    return resolved


def _check_wrapper(resolved: Resolved) -> Iterator[FileCheck]:
    parents = resolved.checkpoint.parents
    root = next((folder for folder in parents if (folder / _DESCRIPTION).is_file()), resolved.checkpoint.parent)
    for name, digest in sorted(json.loads(resolved.tags.get(WRAPPER_TAG, "{}")).items()):
        yield _check(root / name, digest)


def _check(file: Path, expected: str | None) -> FileCheck:
    return FileCheck(file, expected, sha256_file(file) if file.is_file() else None)


def _check_folder(folder: Path, resolved: Resolved) -> Iterator[FileCheck]:
    card_file = folder / _CARD
    card = _read_card(card_file)
    stored = json.loads(resolved.tags.get(ARTIFACTS_TAG, "{}"))
    listed = {name.partition("/")[2]: digest for name, digest in stored.items() if name.startswith(f"{folder.name}/")}
    if not listed:
        # Versions from before that tag: their checkpoint is in another one, their deployed form in its card alone.
        tagged = json.loads(resolved.tags.get(FILES_TAG, "{}")) if folder == resolved.checkpoint else {}
        listed = tagged or dict(card.get("files", {}))
        yield _check_card(card_file, card, resolved, files=listed)
    for name in sorted({*listed, *(file.relative_to(folder).as_posix() for file in _files(folder))}):
        if name != _CARD or name in listed:
            yield _check(folder / name, listed.get(name))


def _check_card(file: Path, card: Mapping[str, Any], resolved: Resolved, *, files: Mapping[str, str]) -> FileCheck:
    """Compare a card with the tags that were made of it: no version from before ``ARTIFACTS_TAG`` has its digest."""
    if not card:
        return FileCheck(file, expected="a card", found=None if not file.exists() else "no card")
    said = {tag: card.get(name) for tag, name in _CARD_TAGS.items() if tag in resolved.tags}
    shown = {tag: value if isinstance(value, str) else to_json(value) for tag, value in said.items()}
    agrees = card.get("files") == files and all(resolved.tags[tag] == value for tag, value in shown.items())
    digest = sha256_file(file)
    return FileCheck(file, expected=digest if agrees else "what the tags say", found=digest)


def _read_card(file: Path) -> dict[str, Any]:
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())

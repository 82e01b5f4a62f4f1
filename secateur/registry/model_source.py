"""From what a user names, a folder or ``models:/name@alias``, to files on this machine whose digests were checked.

Nothing is loaded here, and neither torch nor transformers is imported for a registered model.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from secateur.config.base import Runtime
from secateur.errors import CheckFailed, CheckpointError, NotRegistered
from secateur.files import replacing, sha256_file
from secateur.kinds.registry import DEFAULT
from secateur.models.card import CARD, Card
from secateur.registry.as_registered import require_as_registered
from secateur.registry.model_description import DESCRIPTION, SCRIPT, folders_of, problem_of_digest, runs_a_script
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.signing import Signature, require_signature
from secateur.registry.tags import ARTIFACTS, CHAMPION, FILES, WRAPPER, VersionTags
from secateur.verification.version_files import FileCheck, PrivateCopy, check_tree
from secateur.workflow.project import Project, find_project

if TYPE_CHECKING:
    from secateur.registry.mlflow_store import ModelRegistry

SCHEME = "models:/"
AROUND = (DESCRIPTION, SCRIPT, "conda.yaml", "python_env.yaml", "requirements.txt")
"""Names of the files that MLflow puts around."""


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
        root: of all files of a registered version; None for a folder.
        copy: the private copy that these folders are in; None for what is used where it lies.
    """

    name: str
    version: str | None
    checkpoint: Path
    deployed: Path | None
    runtime: Runtime
    tags: VersionTags = field(default_factory=VersionTags)
    root: Path | None = None
    copy: PrivateCopy | None = None

    @property
    def folder(self) -> Path:
        """The folder to load: the deployed form where there is one."""
        return self.deployed or self.checkpoint

    @property
    def label(self) -> str:
        """The model in a few words, for a message."""
        return self.name if self.version is None else f"{self.name} version {self.version}"

    def digests(self, tag: str) -> dict[str, str]:
        """Return the digests in a tag of the version, see ``VersionTags.digests``."""
        return self.tags.digests(tag, label=self.label)

    def close(self) -> None:
        """Remove the private copy, if this is one; what was loaded from it stays loaded."""
        if self.copy is not None:
            self.copy.close()


def resolve(
    project: Project | None,
    reference: str,
    *,
    verify: bool = True,
    registry: "ModelRegistry | None" = None,
    signature: Signature = "asked",
    all_tags: bool = False,
    but: Collection[str] = (),
) -> Resolved:
    """Find the files of a model and check every one against its digest, before anything is loaded.

    Of a store on this machine everything below the version's root is checked, and a private copy of the listed files is
    what the result names. Those of a remote store are copied once per version to ``.secateur/models/<name>/<version>``;
    a copy that no longer fits is fetched again.

    Args:
        project: whose registry is asked; None looks for the one around the current folder when the registry is needed.
        reference: a checkpoint or ONNX folder, ``models:/name@alias``, ``models:/name/3`` or ``models:/name``.
        verify: False looks at neither digests nor signature, and names the files where they lie, for ``check_files``.
        registry: an open one, so that asking often costs nothing.
        signature: what is asked of it, see ``secateur/registry/signing.py``.
        all_tags: every tag must be that of its manifest; else those that say which files are opened, others are told.
        but: tags that are about to be replaced.

    Raises:
        CheckFailed: a file of a version is missing, differs from its digest or was added, and it is named; or the
            signature that the environment asks for is missing or does not fit.
        ModelError: no such model, alias or version, or the folder is no checkpoint or not as it was written.
    """
    if not reference.startswith(SCHEME):
        resolved = _folder(Path(reference))
        if verify:
            require_intact(resolved)
        return resolved
    from secateur.registry.mlflow_artifacts import local_folder
    from secateur.registry.mlflow_store import ModelRegistry

    found = registry or ModelRegistry(project := project or find_project())
    project = project or find_project()
    entry = _entry(found, reference)
    if verify:
        require_signature(entry.name, entry.version, entry.tags, signature)
        require_as_registered(entry, all_tags=all_tags, but=but)
    local = local_folder(found, entry.name, entry.version)
    if local is None:
        return _downloaded(project, entry, verify=verify)
    resolved = _registered(local, entry)
    return _private(resolved, project) if verify else resolved


def check_files(resolved: Resolved) -> list[FileCheck]:
    """Compare everything below the root of a version with the digests of its tags; of a folder, with its card's."""
    if resolved.root is None:
        return list(_check_folder(resolved.checkpoint))
    listed, cards = listing_of(resolved)
    return [*cards, *check_tree(resolved.root, listed, meta=_meta(resolved))]


def listing_of(resolved: Resolved) -> tuple[dict[str, str], list[FileCheck]]:
    """Return path below the root -> sha256 of every file of a version, and what is wrong with cards.

    Versions from before ``ARTIFACTS`` have the digests of their checkpoint in another tag and those of the deployed
    form in its card alone, so that their cards must say what the tags say; those from before ``WRAPPER`` have none
    of the files that MLflow puts around.

    Raises:
        CheckFailed: a tag cannot be read.
    """
    assert resolved.root is not None
    root, tags = resolved.root, resolved.tags
    listed = resolved.digests(WRAPPER) or {
        name: sha256_file(root / name) for name in AROUND if (root / name).is_file() and not (root / name).is_symlink()
    }
    stored, cards = resolved.digests(ARTIFACTS), []
    folders = [resolved.checkpoint] + ([] if resolved.deployed is None else [resolved.deployed])
    for folder in folders:
        path = folder.relative_to(root).as_posix()
        files = {name.partition("/")[2]: sha for name, sha in stored.items() if name.startswith(f"{folder.name}/")}
        if not files:
            tagged = resolved.digests(FILES) if folder == resolved.checkpoint else {}
            card = _card_in(folder)
            files = tagged or dict(card.files)
            check = _check_card(folder / CARD, card, tags, files=files)
            cards += [check] if check.problem else []
            files = {**files, CARD: check.found or ""}
        listed |= {f"{path}/{name}": digest for name, digest in files.items()}
    return listed, cards


def problem_of_script(resolved: Resolved) -> str | None:
    """Return what is wrong with the script that MLflow runs to load a version; None when it is one of ours, or none.

    Versions from before 0.4 have one. No reader here runs it but the fresh process of a promotion; those who load such
    a version with MLflow do.
    """
    assert resolved.root is not None
    listed = listing_of(resolved)[0]
    if SCRIPT not in listed and not runs_a_script((resolved.root / DESCRIPTION).read_bytes()):
        return None
    return problem_of_digest(listed.get(SCRIPT))


def kind_of(checkpoint: Path) -> str:
    """Return what a verified checkpoint is for."""
    return _card_in(checkpoint).task or DEFAULT


def require_intact(resolved: Resolved) -> None:
    """Refuse a model with a file that is missing, changed or added.

    Raises:
        CheckFailed: of a registered version, naming the file.
        CheckpointError: of a folder that was named, likewise; `inspect` and `export` refuse it alike.
    """
    kind = CheckpointError if resolved.version is None else CheckFailed
    for check in check_files(resolved):
        if check.problem is not None:
            raise kind(f"{resolved.label}: {check.problem}; nothing was loaded; {_remedy(check)}")


def artifact_digests(checkpoint: Path, deployed: Path | None) -> dict[str, str]:
    """Return path -> sha256 of everything a version stores, for ``ARTIFACTS``: ``<folder>/<file>``."""
    folders = [checkpoint] + ([] if deployed is None else [deployed])
    return {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": sha256_file(file)
        for folder in folders
        for file in _files(folder)
    }


def _folder(folder: Path) -> Resolved:
    runtime = cast("Runtime", Card.read(folder).runtime or "torch")
    return Resolved(name=str(folder), version=None, checkpoint=folder, deployed=None, runtime=runtime)


def _entry(registry: "ModelRegistry", reference: str) -> RegisteredVersion:
    try:
        return registry.version(reference)
    except NotRegistered as error:
        if reference.endswith(f"@{CHAMPION}"):
            raise NotRegistered(f"{error}; there is no champion yet: `secateur models promote` makes one") from error
        raise


def _registered(root: Path, entry: RegisteredVersion) -> Resolved:
    """Read from a version's own description which folder is what."""
    named = entry.reference
    description = root / DESCRIPTION
    if not description.is_file():
        raise CheckFailed(f"{named}: {description} is missing; the files of this version are gone, rebuild the model")
    found = Resolved(
        name=entry.name,
        version=entry.version,
        checkpoint=root,
        deployed=None,
        runtime=entry.tags.runtime,
        tags=entry.tags,
        root=root,
    )
    text = description.read_bytes()
    digest = found.digests(WRAPPER).get(DESCRIPTION)
    if digest is not None and hashlib.sha256(text).hexdigest() != digest:
        # It says which folders are loaded, so nothing of it is read before its digest is known.
        raise CheckFailed(f"{named}: {description} differs from its digest; restore or rebuild the model")
    folders = folders_of(text, where=description, named=named)
    deployed = folders.get("deployed")
    return replace(
        found, checkpoint=root / folders["checkpoint"], deployed=None if deployed is None else root / deployed
    )


def _private(stored: Resolved, project: Project) -> Resolved:
    """Check a version where it lies, and return a private copy of it."""
    require_intact(stored)
    assert stored.root is not None
    copy = PrivateCopy(stored.root, listing_of(stored)[0], state=project.state)
    checkpoint = copy.folder / stored.checkpoint.relative_to(stored.root)
    deployed = None if stored.deployed is None else copy.folder / stored.deployed.relative_to(stored.root)
    return replace(stored, root=copy.folder, copy=copy, checkpoint=checkpoint, deployed=deployed)


def _downloaded(project: Project, entry: RegisteredVersion, *, verify: bool) -> Resolved:
    from secateur.registry.mlflow_artifacts import download

    folder = project.state / "models" / quote(entry.name, safe="") / entry.version
    if folder.exists():
        resolved = _registered(folder, entry)
        # Only what the registry holds now can say that the registry's files are changed.
        if verify and all(check.problem is None for check in check_files(resolved)):
            return resolved
    with replacing(folder) as fresh:
        download(entry.name, entry.version, fresh)
    resolved = _registered(folder, entry)
    if verify:
        require_intact(resolved)
    return resolved


def _meta(resolved: Resolved) -> dict[str, str]:
    return {"model_name": resolved.name, "model_version": str(resolved.version)}


def _remedy(check: FileCheck) -> str:
    added = check.irregular is not None or check.expected is None
    return "remove it when you know where it comes from" if added else "restore or rebuild the model"


def _check_folder(folder: Path) -> Iterator[FileCheck]:
    listed = _card_in(folder).files
    for name in sorted({*listed, *(file.relative_to(folder).as_posix() for file in _files(folder))} - {CARD}):
        file = folder / name
        yield FileCheck(file, listed.get(name), sha256_file(file) if file.is_file() else None)


def _check_card(file: Path, card: Card, tags: VersionTags, *, files: Mapping[str, str]) -> FileCheck:
    """Compare a card with the tags that were made of it: no version from before ``ARTIFACTS`` has its digest."""
    if not card.model_fields_set:
        return FileCheck(file, expected="a card", found=None if not file.exists() else "no card")
    agrees = card.files == files and tags.agree_with(card)
    digest = sha256_file(file)
    return FileCheck(file, expected=digest if agrees else "what the tags say", found=digest)


def _card_in(folder: Path) -> Card:
    """Return the card of a folder that is compared with its digests; one that cannot be read is as good as none."""
    try:
        return Card.found_in(folder)
    except (OSError, CheckpointError):
        return Card()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())

"""Whether a version is what it was registered as: who only tells says what is wrong and goes on, who acts refuses."""

import base64
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from secateur.errors import CheckFailed
from secateur.registry.manifest import METRICS, Manifest, Problem, digest_of, manifest_of, parameters_digest, problems
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.tags import MANIFEST
from secateur.verification.key_text import Key
from secateur.verification.keys import verify_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_log = logging.getLogger(__name__)


def require_as_registered(entry: RegisteredVersion, *, all_tags: bool, but: Collection[str] = ()) -> None:
    """Refuse a version whose tags are not those of its manifest; what nobody asks for is told.

    Args:
        entry: of the version.
        all_tags: False refuses only where a tag is wrong that says which files are opened.
        but: tags that are about to be replaced.

    Raises:
        CheckFailed: naming the tag; nothing was opened.
    """
    for problem in problems(entry.tags, model=entry.name, run=entry.run):
        if problem.tag not in but and (all_tags or problem.decides):
            raise CheckFailed(
                f"{entry.reference}: {problem.said}; nothing was loaded; put it back, or register the model again"
            )
        _log.warning("%s: %s", entry.reference, problem.said)


def tell(entry: RegisteredVersion) -> None:
    """Say what is wrong with a version, where something is."""
    for problem in problems(entry.tags, model=entry.name, run=entry.run, metrics=entry.metrics):
        _log.warning("%s: %s", entry.reference, problem.said)


def tell_of_scores(entry: RegisteredVersion) -> None:
    """Say when the metrics of a version are not those that it was registered with."""
    for problem in problems(entry.tags, model=entry.name, run=entry.run, metrics=entry.metrics):
        if problem.tag == METRICS:
            _log.warning("%s: %s", entry.reference, problem.said)


def tell_all(records: "Records", entry: RegisteredVersion) -> None:
    """Say what is wrong with a version and with what lies with its run, where something is."""
    for problem in all_problems(records, entry, key=verify_key()):
        _log.warning("%s: %s", entry.reference, problem.said)


def all_problems(records: "Records", entry: RegisteredVersion, *, key: Key | None = None) -> list[Problem]:
    """Compare everything about a version but its files, also what lies with its run and is asked for one by one.

    Args:
        records: of the model.
        entry: of the version.
        key: entries that were signed with it must fit; None asks for none.
    """
    found = problems(entry.tags, model=entry.name, run=entry.run, metrics=entry.metrics)
    manifest = manifest_of(entry.tags)
    run = records.run_of(entry.version)
    if manifest is None:
        taken = run is not None and MANIFEST in run.tags
        return [Problem(MANIFEST, f"the tag {MANIFEST} is gone: its run has one")] if taken else []
    if manifest.broken:
        return found
    if run is None or parameters_digest(run.params) != manifest.parameters:
        found.append(Problem("parameters", "its parameters are not those that it was registered with"))
    for file, digest in sorted(manifest.kept.items()):
        text = records.stored_with_build(entry.version, file, checked=False)
        if text is None or digest_of(text) != digest:
            what = "is gone" if text is None else "was changed"
            found.append(Problem(file, f"the {file} that was kept with its build {what}"))
    return found + ([] if key is None else _unlike(manifest, key))


def signed_entries(manifest: Manifest, key: Key) -> int:
    """Return how many entries a key has signed; whether they fit is a problem of their own."""
    return sum(entry.key == key.id for entry in manifest.entries)


def _unlike(manifest: Manifest, key: Key) -> list[Problem]:
    found = []
    for entry in manifest.entries:
        if entry.key != key.id:
            continue
        try:
            fits = key.fits(entry.message, base64.b64decode(entry.signature or "", validate=True))
        except ValueError:
            fits = False
        if not fits:
            found.append(Problem(entry.tag, f"the tag {entry.tag} has a signature of something else"))
    return found

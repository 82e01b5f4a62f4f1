"""Writing down what happened to a version after it was registered, so that a kill leaves the old tags or the new ones.

An entry names the digests of the tags before they are written, and says that they are being written; who looks at that
moment, or after a kill, takes the old ones and the new ones. Whoever writes the next entry ends it.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from secateur.errors import CheckFailed, ProjectError
from secateur.registry.manifest import ABSENT, Entry, Manifest, digest_of, manifest_of
from secateur.registry.tags import VersionTags
from secateur.registry.who import now, who_asks
from secateur.verification.keys import signing_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_TRIES = 5


def extend(
    records: "Records", version: str, what: str, texts: Mapping[str, str], *, event: tuple[int, str] | None = None
) -> None:
    """Set tags of a version, and say in its manifest that it was us.

    A version without a manifest gets its tags alone. The entry is signed when a signing key is set.

    Args:
        records: of the model.
        version: its number.
        what: happened, in a word.
        texts: tag -> text.
        event: number and digest of the event in the history of the model that is the same thing; written once.

    Raises:
        CheckFailed: the manifest is damaged; nothing was written.
        ProjectError: the registry refuses, or others write at the same time again and again.
    """
    entry = _begun(records, version, what, texts, event=event)
    for tag, text in texts.items():
        records.tag_version(version, tag, text)
    if entry is not None and entry.pending:
        records.tag_version(version, entry.tag, replace(entry, pending=False).text())


def add_tags(records: "Records", version: str, texts: Mapping[str, str]) -> None:
    """Set those tags of a version that hold something else, or nothing yet."""
    found = records.version_tags(version)
    texts = {tag: text for tag, text in texts.items() if found.get(tag) != text}
    if texts:
        extend(records, version, "told more", texts)


def _begun(
    records: "Records", version: str, what: str, texts: Mapping[str, str], *, event: tuple[int, str] | None
) -> Entry | None:
    """Write an entry whose tags are not written yet; None where there is nothing to write it to."""
    for _ in range(_TRIES):
        tags = records.version_tags(version)
        manifest = manifest_of(tags)
        if manifest is None or (event is not None and any(entry.event == event for entry in manifest.entries)):
            return None
        if manifest.broken:
            raise CheckFailed(f"models:/{records.name}/{version}: {manifest.broken[0]}; nothing was written")
        entry = _next(manifest, tags, what, texts, event=event)
        records.tag_version(version, entry.tag, entry.text())
        if records.version_tags(version).get(entry.tag) == entry.text():
            return entry
    raise ProjectError(f"others write to models:/{records.name}/{version} at this moment; look and try again")


def _next(
    manifest: Manifest, tags: VersionTags, what: str, texts: Mapping[str, str], *, event: tuple[int, str] | None
) -> Entry:
    left = manifest.unfinished
    # What somebody did not finish is what it is by now: the old or the new text, or else a problem that stays one.
    unfinished = {} if left is None else {tag: digest_of(tags[tag]) if tag in tags else ABSENT for tag in left.tags}
    allowed = manifest.allowed()
    ended = {tag: digest for tag, digest in unfinished.items() if digest in allowed[tag]}
    entry = Entry(
        number=len(manifest.entries) + 1,
        previous=manifest.head,
        what=what,
        when=now(),
        who=who_asks(),
        tags={**ended, **{tag: digest_of(text) for tag, text in texts.items()}},
        event=event,
        pending=bool(texts),
    )
    key = signing_key()
    if key is None:
        return entry
    entry = replace(entry, key=key.id)
    return replace(entry, signature=base64.b64encode(key.sign(entry.message)).decode())

"""Writing down what happened to a version after it was registered, so that a kill leaves the old tags or the new ones.

An entry names the digests of the tags before they are written, and says that they are being written; who looks at that
moment, or after a kill, takes the old ones and the new ones. The next entry ends it, when it writes the same, or later.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from secateur.errors import CheckFailed
from secateur.registry.manifest import ABSENT, Entry, Manifest, digest_of, is_late, manifest_of
from secateur.registry.tags import VersionTags
from secateur.registry.who import now, who_asks
from secateur.verification.keys import signing_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records


def extend(records: "Records", version: str, what: str, texts: Mapping[str, str]) -> None:
    """Set tags of a version, and say in its manifest that it was us.

    A version without a manifest gets its tags alone. The entry is signed when a signing key is set. Others may write at
    the same moment.

    Args:
        records: of the model.
        version: its number.
        what: happened, in a word.
        texts: tag -> text.

    Raises:
        CheckFailed: the manifest is damaged; nothing was written.
        ProjectError: the registry refuses.
    """
    entry = begin(records, version, what, texts)
    for tag, text in texts.items():
        records.tag_version(version, tag, text)
    finish(records, version, entry)


def add_tags(records: "Records", version: str, texts: Mapping[str, str]) -> None:
    """Set those tags of a version that hold something else, or nothing yet."""
    found = records.version_tags(version)
    texts = {tag: text for tag, text in texts.items() if found.get(tag) != text}
    if texts:
        extend(records, version, "told more", texts)


def begin(
    records: "Records",
    version: str,
    what: str,
    texts: Mapping[str, str],
    *,
    event: tuple[int, str] | None = None,
) -> Entry | None:
    """Say what is about to be written; whoever has written it calls ``finish``.

    Args:
        records: of the model.
        version: its number.
        what: happens, in a word.
        texts: tag -> text, of the version.
        event: number and digest of the event in the history of the model that is the same thing; said once.

    Returns:
        The entry; None where the version has no manifest.

    Raises:
        CheckFailed: the manifest is damaged; nothing was written.
        ProjectError: the registry refuses.
    """
    tags = records.version_tags(version)
    manifest = manifest_of(tags)
    if manifest is None:
        return None
    if manifest.broken:
        raise CheckFailed(f"models:/{records.name}/{version}: {manifest.broken[0]}; nothing was written")
    said = next((entry for entry in manifest.entries if event is not None and entry.event == event), None)
    if said is not None:
        return said
    entry = _next(manifest, tags, what, {tag: digest_of(text) for tag, text in texts.items()}, event=event)
    records.tag_version(version, entry.tag, entry.text())
    return entry


def finish(records: "Records", version: str, entry: Entry | None) -> None:
    """Say that what an entry names is written."""
    if entry is not None and entry.pending:
        records.tag_version(version, entry.tag, replace(entry, pending=False).text())


def _next(
    manifest: Manifest, tags: VersionTags, what: str, texts: Mapping[str, str], *, event: tuple[int, str] | None
) -> Entry:
    when = now()
    known = _known(manifest, texts)
    entry = Entry(
        number=1 + max((one.number for one in known), default=0),
        previous=manifest.head_of(known),
        what=what,
        when=when,
        who=who_asks(),
        tags={**_ended(manifest, tags, when), **texts},
        event=event,
        pending=True,
    )
    key = signing_key()
    if key is None:
        return entry
    entry = replace(entry, key=key.id)
    return replace(entry, signature=base64.b64encode(key.sign(entry.message)).decode())


def _known(manifest: Manifest, texts: Mapping[str, str]) -> list[Entry]:
    """Return the entries that a new one follows: not those whose writer may yet write over the same tags."""
    at_once = {
        entry.digest
        for entry in manifest.unfinished
        if any(texts.get(tag, digest) != digest for tag, digest in entry.tags.items())
    }
    after = {entry.digest for digest in at_once for entry in manifest.followers[digest]}
    return [entry for entry in manifest.entries if entry.digest not in at_once | after]


def _ended(manifest: Manifest, tags: VersionTags, when: str) -> dict[str, str]:
    """Return what those have left who should have finished long ago: the old or the new text, else a problem stays."""
    late = [tag for entry in manifest.unfinished if is_late(entry, when) for tag in entry.tags]
    found = {tag: digest_of(tags[tag]) if tag in tags else ABSENT for tag in late}
    allowed = manifest.allowed()
    return {tag: digest for tag, digest in found.items() if digest in allowed[tag]}

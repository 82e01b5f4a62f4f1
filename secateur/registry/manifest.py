"""What a registered version is, in one text: digests of files, card, scores, parameters and tags, and what followed.

The first part is written with the version and never changes. What may change later (the verdict, a signature) is said
by entries, each of which names the digest of the one before it, so that nothing can be altered or taken out in between
unnoticed. Aliases are not part of it: the history of the model says where they went.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secateur.registry.tags import ENTRY, LOADED, MANIFEST, VersionTags

FORMAT = 1
METRICS = "metrics"
"""What a problem with the metrics is called by."""

ABSENT = ""
"""The digest of a tag that is not there."""

_LARGEST = 1.7976931348623157e308
"""What MLflow keeps of an infinite metric."""


@dataclass(frozen=True)
class Entry:
    """Something that happened to a version after it was registered.

    Attributes:
        number: 1, 2, ...
        previous: sha256 of the entry before, or of the manifest.
        what: ``judged``, ``signed``, ``promoted``, ...
        when: UTC, ISO 8601.
        who: asked for it.
        tags: tag -> sha256 of what it holds from here on.
        event: number and sha256 of the event in the history of the model; None when it is no move.
        key: name of the key that signed the entry; None for none.
        signature: of ``message``, base64.
        pending: its tags are being written: each may still hold what it held before.
    """

    number: int
    previous: str
    what: str
    when: str
    who: str
    tags: Mapping[str, str] = field(default_factory=dict)
    event: tuple[int, str] | None = None
    key: str | None = None
    signature: str | None = None
    pending: bool = False

    @property
    def tag(self) -> str:
        """The tag that holds it."""
        return f"{ENTRY}{self.number:06d}"

    @property
    def message(self) -> bytes:
        """What is signed."""
        return _canonical({name: value for name, value in self._values().items() if name != "signature"}).encode()

    @property
    def digest(self) -> str:
        """What the next one calls it by; whether its tags are being written is no part of that."""
        return digest_of(_canonical(self._values()))

    def text(self) -> str:
        """Return what the tag holds."""
        return _canonical(self._values() | ({"pending": True} if self.pending else {}))

    def _values(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "pending"}
        values["tags"], values["event"] = dict(self.tags), None if self.event is None else list(self.event)
        return {name: value for name, value in values.items() if value not in (None, {})}


@dataclass(frozen=True)
class Manifest:
    """What the tags of a version say it is.

    Attributes:
        digest: sha256 of the part that never changes: what is approved and signed.
        model: name of the registered model.
        run: of MLflow, that made the version.
        tags: tag -> sha256 of its text, as it was registered.
        metrics: one digest of all.
        parameters: one digest of all.
        kept: file -> sha256, of what was stored with the build (``dvc.lock``).
        entries: what followed, in order.
        broken: what is wrong with these texts themselves.
    """

    digest: str
    model: str
    run: str
    tags: Mapping[str, str]
    metrics: str
    parameters: str
    kept: Mapping[str, str]
    entries: tuple[Entry, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """What the next entry has to name."""
        return self.entries[-1].digest if self.entries else self.digest

    @property
    def unfinished(self) -> Entry | None:
        """The last entry, when its tags are still being written, or whoever wrote them was stopped."""
        return self.entries[-1] if self.entries and self.entries[-1].pending else None

    def allowed(self) -> dict[str, tuple[str, ...]]:
        """Return tag -> the digests that it may have; more than one while it is being written."""
        found: dict[str, tuple[str, ...]] = {tag: (digest,) for tag, digest in self.tags.items()}
        for entry in self.entries:
            for tag, digest in entry.tags.items():
                found[tag] = (digest, *found.get(tag, (ABSENT,))) if entry is self.unfinished else (digest,)
        return found


@dataclass(frozen=True)
class Problem:
    """One tag that does not hold what it should.

    Attributes:
        tag: its name; that of the manifest where what it says of other things does not fit.
        said: what is wrong, in words.
    """

    tag: str
    said: str

    @property
    def decides(self) -> bool:
        """Whether the tag says which files are opened, and how."""
        return self.tag in LOADED or self.tag == MANIFEST


def written_for(
    *,
    model: str,
    run: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    parameters: Mapping[str, str],
    kept: Mapping[str, str],
) -> str:
    """Return the text of the part that never changes.

    Args:
        model: name of the registered model.
        run: of MLflow, that makes the version.
        tags: all tags of ours that the version will have.
        metrics: of the run.
        parameters: of the run, as MLflow keeps them.
        kept: file -> sha256, of what is stored with the build.
    """
    values = {
        "format": FORMAT,
        "kept": dict(kept),
        "metrics": metrics_digest(metrics),
        "model": model,
        "parameters": parameters_digest(parameters),
        "run": run,
        "tags": {tag: digest_of(text) for tag, text in tags.items()},
    }
    return _canonical(values)


def manifest_of(tags: VersionTags) -> Manifest | None:
    """Return what the tags of a version say it is; None for one that was registered before there were manifests."""
    entries = sorted(tag for tag in tags if tag.startswith(ENTRY))
    if MANIFEST not in tags:
        gone = tuple(f"the tag {MANIFEST} is gone: {entry} followed it" for entry in entries[:1])
        return Manifest("", "", "", {}, "", "", {}, broken=gone) if entries else None
    try:
        found = _read(tags[MANIFEST])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Manifest("", "", "", {}, "", "", {}, broken=(f"the tag {MANIFEST} is no manifest of ours",))
    return _with_entries(found, tags, entries)


def problems(
    tags: VersionTags, *, model: str, run: str | None, metrics: Mapping[str, float] | None = None
) -> list[Problem]:
    """Compare the tags of a version with its manifest; none for a version that has none.

    Args:
        tags: of the version.
        model: under which it is registered.
        run: of MLflow, that the registry says made it.
        metrics: of that run; None where they were not asked for.
    """
    manifest = manifest_of(tags)
    if manifest is None:
        return []
    if manifest.broken:
        return [Problem(MANIFEST, said) for said in manifest.broken]
    found = []
    if manifest.model != model:
        found.append(Problem(MANIFEST, f"the tag {MANIFEST} is that of a version of {manifest.model}"))
    if manifest.run != run:
        found.append(Problem(MANIFEST, f"the tag {MANIFEST} is that of another version: run {manifest.run}, not {run}"))
    allowed = manifest.allowed()
    for tag in sorted({*allowed, *tags.ours}):
        if tag == MANIFEST or tag.startswith(ENTRY):
            continue
        if (said := _difference(tag, tags, allowed.get(tag))) is not None:
            found.append(Problem(tag, said))
    if metrics is not None and metrics_digest(metrics) != manifest.metrics:
        found.append(Problem(METRICS, "its metrics are not those that it was registered with"))
    return found


def describe(tags: VersionTags) -> str:
    """Say in a few words what the manifest is."""
    manifest = manifest_of(tags)
    if manifest is None:
        return "no manifest"
    if manifest.broken:
        return "a damaged manifest"
    count = len(manifest.entries)
    said = f"manifest {manifest.digest[:12]}" + (f" and {count} entr{'y' if count == 1 else 'ies'}" if count else "")
    if (entry := manifest.unfinished) is not None:
        said += f"; {entry.tag} ({entry.what}, {entry.when}) is being written, or was not finished"
    return said


def digest_of(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def metrics_digest(metrics: Mapping[str, float]) -> str:
    """Return one digest of metrics as MLflow keeps them."""
    kept = {name: repr(min(max(float(value), -_LARGEST), _LARGEST)) for name, value in metrics.items()}
    return digest_of(_canonical(kept))


def parameters_digest(parameters: Mapping[str, str]) -> str:
    """Return one digest of parameters, as MLflow keeps them: texts."""
    return digest_of(_canonical(dict(parameters)))


def _difference(tag: str, tags: VersionTags, allowed: Sequence[str] | None) -> str | None:
    if allowed is None:
        return f"the tag {tag} was added by nobody of ours"
    if tag not in tags:
        return None if ABSENT in allowed else f"the tag {tag} is gone"
    return None if digest_of(tags[tag]) in allowed else f"the tag {tag} was changed after it was written"


def _read(text: str) -> Manifest:
    values = json.loads(text)
    if values["format"] != FORMAT or text != _canonical(values):
        raise ValueError
    return Manifest(
        digest=digest_of(text),
        model=str(values["model"]),
        run=str(values["run"]),
        tags=_digests(values["tags"]),
        metrics=str(values["metrics"]),
        parameters=str(values["parameters"]),
        kept=_digests(values["kept"]),
    )


def _with_entries(manifest: Manifest, tags: VersionTags, names: Sequence[str]) -> Manifest:
    found: list[Entry] = []
    previous, broken = manifest.digest, []
    for number, name in enumerate(names, 1):
        expected = f"{ENTRY}{number:06d}"
        try:
            if name != expected and expected < name:
                broken.append(f"the tag {expected} is gone: {name} follows it")
                break
            entry = _entry(tags[name])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            broken.append(f"the tag {name} is no entry of ours")
            break
        if entry.tag != name or entry.number != number or entry.previous != previous:
            broken.append(f"the tag {name} does not follow what is before it: an entry was changed or taken out")
            break
        found.append(entry)
        previous = entry.digest
    return replace(manifest, entries=tuple(found), broken=tuple(broken))


def _entry(text: str) -> Entry:
    values = json.loads(text)
    if not set(values) <= set(Entry.__dataclass_fields__):
        raise ValueError
    event = values.pop("event", None)
    texts = [values[name] for name in ("previous", "what", "when", "who")]
    texts += [values[name] for name in ("key", "signature") if name in values]
    if not all(isinstance(text, str) for text in texts) or not isinstance(values["number"], int):
        raise ValueError
    pair = None if event is None else (int(event[0]), str(event[1]))
    entry = Entry(**{**values, "tags": _digests(values.get("tags", {})), "event": pair, "pending": "pending" in values})
    if entry.text() != text:
        raise ValueError
    return entry


def _digests(values: Any) -> dict[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError
    return dict(values)


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

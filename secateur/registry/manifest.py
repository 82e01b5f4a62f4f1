"""What a registered version is, in one text: digests of files, card, scores, parameters and tags, and what followed.

The first part is written with the version and never changes. What may change later (the verdict, a signature) is said
by entries, each of which names the digest of the one before it, so that nothing can be altered or taken out in between
unnoticed. A registry cannot be asked to write only if nobody else has: each entry is a tag of its own name, those that
were written at the same moment name the same one, and the next names them all. Aliases are not part of it: the history
of the model says where they went.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from secateur.files import utf8
from secateur.registry.tags import ENTRY, LOADED, MANIFEST, VersionTags

FORMAT = 1
METRICS = "metrics"
"""What a problem with the metrics is called by."""

ABSENT = ""
"""The digest of a tag that is not there."""

PATIENCE = timedelta(minutes=10)
"""After that, what an entry says is being written counts as left by somebody who was stopped."""

_NAME_CHARS = 12
"""Of the digest of an entry, in the name of its tag."""

_LARGEST = 1.7976931348623157e308
"""What MLflow keeps of an infinite metric."""


@dataclass(frozen=True)
class Entry:
    """Something that happened to a version after it was registered.

    Attributes:
        number: 1, 2, ...
        previous: sha256 of the entry before, or of the manifest; of all before with blanks, where several were written
            at the same moment.
        what: ``judged``, ``signed``, ``promoted``, ...
        when: UTC, ISO 8601.
        who: asked for it.
        tags: tag -> sha256 of what it holds from here on.
        event: number and sha256 of the event in the history of the model; None when it is no move.
        key: name of the key that signed the entry; None for none.
        signature: of ``message``, base64.
        pending: its tags, or its event, are being written: each may still be what it was before.
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
        """The tag that holds it: nobody else writes to one of this name."""
        return f"{self.numbered}.{self.digest[:_NAME_CHARS]}"

    @property
    def numbered(self) -> str:
        """The beginning of its tag."""
        return f"{ENTRY}{self.number:06d}"

    @property
    def before(self) -> tuple[str, ...]:
        """The digests of what it follows."""
        return tuple(self.previous.split())

    @property
    def message(self) -> bytes:
        """What is signed."""
        return utf8(_canonical({name: value for name, value in self._values().items() if name != "signature"}))

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
        return self.head_of(self.entries)

    def head_of(self, entries: Sequence[Entry]) -> str:
        """Return what an entry has to name that follows some of them."""
        named = {digest for entry in entries for digest in entry.before}
        return " ".join(sorted(entry.digest for entry in entries if entry.digest not in named)) or self.digest

    @cached_property
    def followers(self) -> Mapping[str, tuple[Entry, ...]]:
        """Return digest of an entry -> those that were written in the knowledge of it."""
        found: dict[str, list[Entry]] = {entry.digest: [] for entry in self.entries}
        known: dict[str, frozenset[str]] = {}
        for entry in self.entries:
            direct = [digest for digest in entry.before if digest in known]
            known[entry.digest] = frozenset(direct).union(*(known[digest] for digest in direct))
            for digest in known[entry.digest]:
                found[digest].append(entry)
        return {digest: tuple(entries) for digest, entries in found.items()}

    @property
    def unfinished(self) -> tuple[Entry, ...]:
        """The entries that are being written, or whose writer was stopped and nobody has ended them yet."""
        return tuple(entry for entry in self.entries if self._is_open(entry))

    def _is_open(self, entry: Entry) -> bool:
        followers = self.followers[entry.digest]
        if not entry.pending or any(is_late(entry, follower.when) for follower in followers):
            return False
        ended = {tag for follower in followers for tag in follower.tags}
        return not followers or not set(entry.tags) <= ended

    def allowed(self) -> dict[str, tuple[str, ...]]:
        """Return tag -> the digests that it may have; more than one where it is, or was at once, being written."""
        found = {tag: [((digest,), "")] for tag, digest in self.tags.items()}
        for entry in self.entries:
            is_open = self._is_open(entry)
            for tag, digest in entry.tags.items():
                last = found.get(tag, [((ABSENT,), "")])
                beside = [one for one in last if one[1] and entry not in self.followers[one[1]]]
                before = [one for digests, by in last if (digests, by) not in beside for one in digests]
                found[tag] = [*beside, ((digest, *(before if is_open else ())), entry.digest)]
        return {tag: tuple(one for digests, _ in last for one in digests) for tag, last in found.items()}


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
    for entry in manifest.unfinished:
        said += f"; {entry.numbered} ({entry.what}, {entry.when}) is being written, or was not finished"
    return said


def is_late(entry: Entry, when: str) -> bool:
    """Tell whether an entry should be finished by a time; one that is no time is late."""
    try:
        return datetime.fromisoformat(when) - datetime.fromisoformat(entry.when) > PATIENCE
    except (ValueError, TypeError):
        return True


def digest_of(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(utf8(text)).hexdigest()


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
    number_of = {manifest.digest: 0}
    for name in names:
        try:
            entry = _entry(tags[name])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return replace(manifest, entries=tuple(found), broken=(f"the tag {name} is no entry of ours",))
        if not _follows(entry, name, number_of):
            unlike = f"the tag {name} does not follow what is before it: an entry was changed or taken out"
            said = _gone(name, found) or unlike
            return replace(manifest, entries=tuple(found), broken=(said,))
        found.append(entry)
        number_of[entry.digest] = entry.number
    return replace(manifest, entries=tuple(found))


def _follows(entry: Entry, name: str, number_of: Mapping[str, int]) -> bool:
    """Tell whether an entry stands under its own name, behind entries that are there."""
    known = [number_of[digest] for digest in entry.before if digest in number_of]
    # Before 0.4 was released the name was the number alone.
    own = name in (entry.tag, entry.numbered)
    return own and 0 < len(known) == len(entry.before) and entry.number == 1 + max(known)


def _gone(name: str, before: Sequence[Entry]) -> str | None:
    """Say which entry is missing before a tag, where its number tells."""
    missing = f"{ENTRY}{max((entry.number for entry in before), default=0) + 1:06d}"
    return f"the tag {missing} is gone: {name} follows it" if missing < name[: len(missing)] else None


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

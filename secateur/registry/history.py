"""The history of a model's champions, kept in the registry itself, one tag per event."""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from secateur.errors import ProjectError
from secateur.files import to_json
from secateur.registry.manifest import digest_of, manifest_of
from secateur.registry.manifest_entries import extend
from secateur.registry.tags import HISTORY
from secateur.verification.keys import signing_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

What = Literal["promoted", "rolled_back", "restored", "approved"]

FIRST = ""
"""What the first event names in the place of the one before."""

_LATER = ("previous", "manifest", "approvals", "key", "signature")
_TRIES = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One move of the alias ``champion``, or one that was taken back.

    Attributes:
        number: 1, 2, ...
        what: ``restored`` means that a promotion or rollback did not come through, and ``from_`` is champion still;
            ``approved`` moves nothing.
        from_: champion before; None when there was none.
        to: the version that became champion, or was to.
        who: who asked for it.
        when: UTC, ISO 8601.
        why: a reason, one line.
        forced: although a condition of the gate failed.
        previous: sha256 of the event before, as the registry holds it; None of events that were written before 0.4.
        manifest: what the manifest of ``to`` came to just before; None where it has none.
        approvals: names of the keys that had approved of it, with commas; None where nobody had to.
        key: name of the key that signed the event; None for none.
        signature: of ``message``, base64.
    """

    number: int
    what: What
    from_: str | None
    to: str
    who: str
    when: str
    why: str
    forced: bool
    previous: str | None = None
    manifest: str | None = None
    approvals: str | None = None
    key: str | None = None
    signature: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; ``from_`` is called ``from``, and what is not known of the last five is left out."""
        values = {name: value for name, value in asdict(self).items() if name not in _LATER or value is not None}
        return {"from" if name == "from_" else name: value for name, value in values.items()}

    @property
    def message(self) -> bytes:
        """What is signed."""
        return to_json({name: value for name, value in self.as_json().items() if name != "signature"}).encode()

    @property
    def text(self) -> str:
        """What the registry holds."""
        return to_json(self.as_json())

    def describe(self) -> str:
        """Return one line."""
        if self.what == "approved":
            return f"version {self.to} is approved ({self.why})"
        if self.what == "restored":
            return f"version {self.to} was not promoted, {self.from_ or 'nothing'} is champion still ({self.why})"
        return f"version {self.to} is the champion, it was {self.from_ or 'none'} ({self.why})"


def events(records: "Records") -> list[Event]:
    """Return all events, oldest first. What is no event of ours is told and left out: anybody may write tags."""
    found = {name: _event_of(value) for name, value in records.tags().items() if name.startswith(HISTORY)}
    foreign = sorted(name for name, event in found.items() if event is None)
    if foreign:
        _log.warning("%s has tags that are no events of ours and are left out: %s", records.name, ", ".join(foreign))
    return sorted((event for event in found.values() if event is not None), key=lambda event: event.number)


def next_number(records: "Records") -> int:
    """Return a number that no event has, not even one that cannot be read: it is not written over."""
    names = [name.removeprefix(HISTORY) for name in records.tags() if name.startswith(HISTORY)]
    taken = [int(name) for name in names if name.isdecimal()] + [event.number for event in events(records)]
    return max(taken, default=0) + 1


def _event_of(text: str) -> Event | None:
    try:
        entry = json.loads(text)
        named = {name: "from" if name == "from_" else name for name in Event.__dataclass_fields__}
        event = Event(**{name: entry[said] for name, said in named.items() if name not in _LATER or said in entry})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (event.to, event.who, event.when, event.why)
    maybe = (event.from_, event.previous, event.manifest, event.approvals, event.key, event.signature)
    is_whole = isinstance(event.number, int) and isinstance(event.forced, bool) and event.what in get_args(What)
    is_whole = is_whole and all(isinstance(text, str) for text in texts)
    is_whole = is_whole and all(isinstance(text, str | None) for text in maybe)
    return event if is_whole else None


def tag_of(number: int) -> str:
    """Return the tag that holds an event."""
    return f"{HISTORY}{number:06d}"


def write(records: "Records", event: Event) -> Event:
    """Keep an event, linked with the one before, and with what its version is; return it as it is kept.

    Writing the same one again, as after a kill, changes nothing. It is signed when a signing key is set.
    """
    tags = records.tags()
    linked = _linked(records, event, tags)
    found = _event_of(tags.get(tag_of(event.number), ""))
    if found is not None and replace(found, key=None, signature=None, manifest=linked.manifest) == linked:
        linked = found
    else:
        key = signing_key()
        linked = linked if key is None else replace(linked, key=key.id)
        if key is not None:
            linked = replace(linked, signature=base64.b64encode(key.sign(linked.message)).decode())
        records.tag(tag_of(event.number), linked.text)
    extend(records, event.to, event.what, {}, event=(event.number, digest_of(linked.text)))
    return linked


def append(records: "Records", event: Event) -> Event:
    """Keep an event under the next number, whatever others write at the same time; return it as it is kept.

    Raises:
        ProjectError: others wrote over it again and again.
    """
    for _ in range(_TRIES):
        written = write(records, replace(event, number=next_number(records)))
        if records.tags().get(tag_of(written.number)) == written.text:
            return written
    raise ProjectError(f"others write into the history of {records.name} at this moment; look and try again")


def _linked(records: "Records", event: Event, tags: Mapping[str, str]) -> Event:
    manifest = manifest_of(records.version_tags(event.to))
    before = [tag for tag in sorted(tags) if tag.startswith(HISTORY) and tag < tag_of(event.number)]
    return replace(
        event,
        previous=digest_of(tags[before[-1]]) if before else FIRST,
        manifest=None if manifest is None else manifest.head,
    )


def champions(history: Sequence[Event]) -> list[str]:
    """Return the champions that a rollback would go through, the present one last.

    A promotion puts a version on the pile, a rollback takes off what lies above the one it goes back to.
    """
    pile: list[str] = []
    for event in history:
        if event.what == "rolled_back":
            while pile and pile[-1] != event.to:
                pile.pop()
            pile = pile or [event.to]
        elif event.what == "promoted":
            if event.from_ is not None and pile[-1:] != [event.from_]:
                pile.append(event.from_)  # made champion by other means
            pile.append(event.to)
    return pile

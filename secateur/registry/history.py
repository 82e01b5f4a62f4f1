"""The history of a model's champions, kept in the registry itself, one tag per event.

Each is a tag of its own name, so that nobody writes over another; those of the same moment have the same number.
"""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from secateur.files import to_json, utf8
from secateur.registry.manifest import digest_of, manifest_of
from secateur.registry.manifest_entries import begin, finish
from secateur.registry.tags import HISTORY
from secateur.verification.keys import signing_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

What = Literal["promoted", "rolled_back", "restored", "approved"]

FIRST = ""
"""What the first event names in the place of the one before."""

_LATER = ("previous", "manifest", "approvals", "key", "signature")
_NAME_CHARS = 12
"""Of the digest of an event, in the name of its tag."""

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
        previous: sha256 of the event before, as the registry holds it, or of several with blanks; None of events that
            were written before 0.4.
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
        return utf8(to_json({name: value for name, value in self.as_json().items() if name != "signature"}))

    @property
    def text(self) -> str:
        """What the registry holds."""
        return to_json(self.as_json())

    @property
    def said(self) -> "Event":
        """What happened, without what it was linked with when it was written down."""
        return replace(self, previous=None, manifest=None, key=None, signature=None)

    @property
    def tag(self) -> str:
        """The tag that holds it, the same one whoever writes it down."""
        return f"{self.numbered}.{digest_of(self.said.text)[:_NAME_CHARS]}"

    @property
    def numbered(self) -> str:
        """The beginning of its tag; until 0.3 all of it."""
        return f"{HISTORY}{self.number:06d}"

    def describe(self) -> str:
        """Return one line."""
        if self.what == "approved":
            return f"version {self.to} is approved ({self.why})"
        if self.what == "restored":
            return f"version {self.to} was not promoted, {self.from_ or 'nothing'} is champion still ({self.why})"
        return f"version {self.to} is the champion, it was {self.from_ or 'none'} ({self.why})"


def events(records: "Records") -> list[Event]:
    """Return all events, oldest first. What is no event of ours is told and left out: anybody may write tags."""
    tags = records.tags()
    found = events_in(tags)
    foreign = sorted(name for name in tags if name.startswith(HISTORY) and name not in found)
    if foreign:
        _log.warning("%s has tags that are no events of ours and are left out: %s", records.name, ", ".join(foreign))
    return list(found.values())


def events_in(tags: Mapping[str, str]) -> dict[str, Event]:
    """Return tag -> event of those that can be read, oldest first."""
    read = {name: _event_of(value) for name, value in tags.items() if name.startswith(HISTORY)}
    found = [(name, event) for name, event in read.items() if event is not None]
    return dict(sorted(found, key=lambda pair: (pair[1].number, pair[1].when, pair[0])))


def next_number(records: "Records") -> int:
    """Return a number that no event has, not even one that cannot be read."""
    names = [name.removeprefix(HISTORY).partition(".")[0] for name in records.tags() if name.startswith(HISTORY)]
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


def write(records: "Records", event: Event) -> Event:
    """Keep an event, linked with those before, and with what its version is; return it as it is kept.

    The manifest of its version names it first, so that a kill leaves no event that the version does not know. Writing
    the same one again, as after a kill, changes nothing. It is signed when a signing key is set.
    """
    tags = records.tags()
    linked = next((one for one in events_in(tags).values() if one.said == event.said), None)
    known = linked is not None
    if linked is None:
        linked = _linked(records, event, tags)
        key = signing_key()
        linked = linked if key is None else replace(linked, key=key.id)
        if key is not None:
            linked = replace(linked, signature=base64.b64encode(key.sign(linked.message)).decode())
    entry = begin(records, event.to, event.what, {}, event=(event.number, digest_of(linked.text)))
    if not known:
        records.tag(linked.tag, linked.text)
    finish(records, event.to, entry)
    return linked


def append(records: "Records", event: Event) -> Event:
    """Keep an event under the next number; return it as it is kept."""
    return write(records, replace(event, number=next_number(records)))


def _linked(records: "Records", event: Event, tags: Mapping[str, str]) -> Event:
    manifest = manifest_of(records.version_tags(event.to))
    before = {name: one for name, one in events_in(tags).items() if one.number < event.number}
    return replace(
        event,
        previous=" ".join(sorted(digest_of(tags[name]) for name in _last(before, tags))) or FIRST,
        manifest=None if manifest is None else manifest.head,
    )


def _last(found: Mapping[str, Event], tags: Mapping[str, str]) -> list[str]:
    """Return the tags of events that no other one names; of those from before 0.4, which name none, the last."""
    named = {digest for event in found.values() for digest in (event.previous or "").split()}
    linked = [name for name, event in found.items() if event.previous is not None]
    return [name for name in linked if digest_of(tags[name]) not in named] or list(found)[-1:]


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

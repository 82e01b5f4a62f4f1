"""The history of a model's champions, kept in the registry itself, one tag per event."""

import getpass
import json
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from secateur.files import to_json
from secateur.registry.tags import HISTORY

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

What = Literal["promoted", "rolled_back", "restored"]

_WHO_VARIABLE = "SECATEUR_USER"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One move of the alias ``champion``, or one that was taken back.

    Attributes:
        number: 1, 2, ...
        what: ``restored`` means that a promotion or rollback did not come through, and ``from_`` is champion still.
        from_: champion before; None when there was none.
        to: the version that became champion, or was to.
        who: who asked for it.
        when: UTC, ISO 8601.
        why: a reason, one line.
        forced: although a condition of the gate failed.
    """

    number: int
    what: What
    from_: str | None
    to: str
    who: str
    when: str
    why: str
    forced: bool

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; ``from_`` is called ``from``."""
        values = asdict(self)
        return {"from" if name == "from_" else name: value for name, value in values.items()}

    def describe(self) -> str:
        """Return one line."""
        if self.what == "restored":
            return f"version {self.to} was not promoted, {self.from_ or 'nothing'} is champion still ({self.why})"
        return f"version {self.to} is the champion, it was {self.from_ or 'none'} ({self.why})"


def who_asks() -> str:
    """Return ``SECATEUR_USER`` or user@host."""
    return os.environ.get(_WHO_VARIABLE) or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    """Return the name of the user, or the number where a container gave none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def now() -> str:
    """Return the time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


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
        event = Event(**{name: entry["from" if name == "from_" else name] for name in Event.__dataclass_fields__})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (event.to, event.who, event.when, event.why)
    is_whole = isinstance(event.number, int) and isinstance(event.forced, bool) and event.what in get_args(What)
    is_whole = is_whole and isinstance(event.from_, str | None) and all(isinstance(text, str) for text in texts)
    return event if is_whole else None


def write(records: "Records", event: Event) -> None:
    """Keep an event; writing the same one again changes nothing."""
    records.tag(f"{HISTORY}{event.number:06d}", to_json(event.as_json()))


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

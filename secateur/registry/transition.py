"""Moving the alias ``champion`` so that a failure or a kill at any point leaves a proven model in its place.

A journal in the registry says what is going on. Its state is ``pending`` until the new champion has answered under its
number, then ``proven``; only then does the alias move. Whoever comes next and finds the journal of a dead process drops
a pending move and carries a proven one through.
"""

import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from secateur.errors import ProjectError, SecateurError
from secateur.files import to_json
from secateur.registry.history import Event, What, champions, events, next_number, write
from secateur.registry.tags import CHAMPION, PREVIOUS, TRANSITION
from secateur.registry.verdict import mark_promoted
from secateur.registry.who import now, who_asks

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_PATIENCE = timedelta(minutes=30)
"""This far from now a move by a process on another machine, which cannot be asked whether it lives, counts as dead."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Move:
    """A move of the alias that has begun."""

    number: int
    what: Literal["promoted", "rolled_back"]
    from_: str | None
    to: str
    who: str
    when: str
    why: str
    forced: bool
    state: Literal["pending", "proven"]
    host: str
    process: str
    approvals: str | None = None

    def event(self, what: What, *, why: str | None = None) -> Event:
        """Return what the history says about it."""
        said = Event(self.number, what, self.from_, self.to, self.who, self.when, why or self.why, self.forced)
        return replace(said, approvals=self.approvals)


def move_champion(
    records: "Records",
    to: str,
    *,
    from_: str | None,
    what: Literal["promoted", "rolled_back"],
    why: str,
    forced: bool,
    prove: Callable[[], None],
    approvals: str | None = None,
) -> Event:
    """Let a version prove itself, then point ``champion`` at it.

    Args:
        records: of the model.
        to: number of the version.
        from_: the champion that it was compared with; None for none.
        what: a promotion, or a rollback.
        why: kept in the history.
        forced: kept in the history.
        approvals: names of the keys that approved; kept in the history.
        prove: lets the version answer in a fresh process; raises a ``SecateurError`` when it does not.

    Raises:
        SecateurError: what ``prove`` raised; the alias has not moved, and the history says so.
        ProjectError: another move is under way, or the champion is another one by now.
    """
    recover(records)
    require_idle(records)
    if (found := records.alias(CHAMPION)) != from_:
        raise ProjectError(
            f"the champion of {records.name} is version {found or 'none'} by now, the challenger was compared with "
            f"{from_ or 'none'}; ask again"
        )
    move = Move(
        number=next_number(records),
        what=what,
        from_=from_,
        to=to,
        who=who_asks(),
        when=now(),
        why=why,
        forced=forced,
        state="pending",
        host=socket.gethostname(),
        process=_process(os.getpid()),
        approvals=approvals,
    )
    _write(records, move)
    _require_own(records, move)
    try:
        prove()
    except BaseException as error:
        reason = str(error) if isinstance(error, SecateurError) else type(error).__name__
        _take_back(records, move, why=f"the new champion did not answer: {reason}")
        raise
    _require_own(records, move)
    move = replace(move, state="proven")
    _write(records, move)
    return _complete(records, move)


def recover(records: "Records") -> Event | None:
    """End a move whose process is dead; return what the history says about it, None when there is no such move."""
    move = _read(records)
    if move is None or _lives(move):
        return None
    if move.state == "proven":
        return _complete(records, move)
    return _take_back(records, move, why="its process ended before the new champion had answered")


def require_idle(records: "Records") -> None:
    """Refuse to go on while the champion is being moved.

    Raises:
        ProjectError: it is.
    """
    move = _read(records)
    if move is not None:
        raise ProjectError(
            f"{move.who} is moving the champion of {records.name} to version {move.to} (process {move.process} on "
            f"{move.host}, since {move.when}); wait for it to end"
        )


def _complete(records: "Records", move: Move) -> Event:
    """Move the alias to a proven version, and write it down. Every step may be repeated after a kill."""
    found = records.alias(CHAMPION)
    if found not in (move.from_, move.to):
        return _take_back(records, move, why=f"somebody made version {found or 'none'} the champion meanwhile")
    if found != move.to:
        records.point(CHAMPION, move.to)
    event = write(records, move.event(move.what))
    pile = champions(events(records))
    records.point(PREVIOUS, pile[-2] if len(pile) > 1 else None)
    if move.what == "promoted":
        mark_promoted(records, move.to)
    records.tag(TRANSITION, None)
    return event


def _take_back(records: "Records", move: Move, *, why: str) -> Event:
    # Before 0.3.1 the alias moved while a move was pending.
    if move.state == "pending" and move.from_ != move.to and records.alias(CHAMPION) == move.to:
        records.point(CHAMPION, move.from_)
    event = write(records, move.event("restored", why=why))
    records.tag(TRANSITION, None)
    return event


def _require_own(records: "Records", move: Move) -> None:
    if _read(records) != move:
        raise ProjectError(f"somebody else moves the champion of {records.name} at this moment; look and try again")


def _write(records: "Records", move: Move) -> None:
    records.tag(TRANSITION, to_json(asdict(move)))


def _read(records: "Records") -> Move | None:
    """Return the journal; None when there is none, or one that no process of ours has written."""
    text = records.tags().get(TRANSITION)
    if text is None:
        return None
    try:
        move = Move(**json.loads(text))
        if _is_ours(move):
            return move
    except (ValueError, TypeError, RecursionError):
        pass
    _log.warning("the tag %s of %s is not a move of ours and counts for nothing", TRANSITION, records.name)
    return None


def _is_ours(move: Move) -> bool:
    texts = (move.to, move.who, move.when, move.why, move.host, move.process)
    maybe = (move.from_, move.approvals)
    if not (all(isinstance(text, str) for text in texts) and all(isinstance(text, str | None) for text in maybe)):
        return False
    pid = move.process.partition("@")[0]
    known = move.what in ("promoted", "rolled_back") and move.state in ("pending", "proven")
    counted = isinstance(move.number, int) and isinstance(move.forced, bool)
    return known and counted and pid.isdecimal() and datetime.fromisoformat(move.when).tzinfo is not None


def _lives(move: Move) -> bool:
    if move.host != socket.gethostname():
        # Clocks differ by minutes; a journal of 2099 would keep everybody waiting until then.
        return abs(datetime.now(UTC) - datetime.fromisoformat(move.when)) < _PATIENCE
    pid = int(move.process.partition("@")[0])
    return move.process == _process(pid) and pid != os.getpid()


def _process(pid: int) -> str:
    """Return a name that no later process shares: its id and when the kernel started it; empty for a dead one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    # The command in brackets may hold blanks; the 20th field after it is the start time, the first the state.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else f"{pid}@{fields[19]}"

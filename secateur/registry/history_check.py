"""Whether the history of a model is whole: each event names the one before, and each version the moves that made it."""

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.registry.history import Event, champions, events, events_in
from secateur.registry.manifest import digest_of, manifest_of
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.tags import CHAMPION, HISTORY, PREVIOUS, TRANSITION, Aliases
from secateur.verification.key_text import Key
from secateur.verification.keys import verify_key

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistoryProblem:
    """One thing that is wrong.

    Attributes:
        version: that it is about; None when it is about none.
        said: in words, with the name of the tag or alias.
    """

    version: str | None
    said: str


def history_problems(records: "Records", *, key: Key | None = None) -> list[HistoryProblem]:
    """Compare the events of a model with each other, with its versions and with its aliases.

    Args:
        records: of the model.
        key: events that were signed with it must fit; None asks for none.
    """
    tags, said = records.tags(), events(records)
    found = events_in(tags)
    versions = {entry.version: entry for entry in records.registry.versions(records.name)}
    problems = [*_unlinked(tags, found), *_unknown_to_history(tags, versions)]
    problems += [] if key is None else _unlike(found, key)
    if TRANSITION not in tags:  # else a move is under way, and not all of it is written yet
        problems += [*_unknown_to_version(tags, found, versions), *_elsewhere(said, records.aliases())]
    return problems


def _unlinked(tags: Mapping[str, str], found: Mapping[str, Event]) -> Iterator[HistoryProblem]:
    for tag, event in found.items():
        before = {name: digest_of(tags[name]) for name, one in found.items() if one.number < event.number}
        named = (event.previous or "").split()
        if event.previous is None or (named and set(named) <= {*before.values()}) or (not named and not before):
            continue
        at = max((found[name].number for name in before), default=0)
        last = ", ".join(name for name in before if found[name].number == at) or "nothing"
        yield HistoryProblem(event.to, f"the tag {tag} does not follow {last}: an event was changed or taken out")


def _unknown_to_history(tags: Mapping[str, str], versions: Mapping[str, RegisteredVersion]) -> Iterator[HistoryProblem]:
    held: dict[str, set[str]] = {}
    for name, text in tags.items():
        if name.startswith(HISTORY):
            held.setdefault(name.removeprefix(HISTORY).partition(".")[0], set()).add(digest_of(text))
    for version, entry in sorted(versions.items(), key=lambda pair: int(pair[0])):
        manifest = manifest_of(entry.tags)
        for one in () if manifest is None else manifest.entries:
            if one.event is None or one.pending:  # else it is being written, or was not
                continue
            number = f"{one.event[0]:06d}"
            if one.event[1] not in held.get(number, set()):
                what = "was changed" if number in held else "is gone"
                said = f"the tag {HISTORY}{number} {what}: version {version} was {one.what.replace('_', ' ')} by it"
                yield HistoryProblem(version, said)


def _unknown_to_version(
    tags: Mapping[str, str], found: Mapping[str, Event], versions: Mapping[str, RegisteredVersion]
) -> Iterator[HistoryProblem]:
    for tag, event in found.items():
        entry = versions.get(event.to)
        manifest = None if entry is None else manifest_of(entry.tags)
        if manifest is None or event.manifest is None:
            continue
        kept = (event.number, digest_of(tags[tag]))
        # An event may stand under the tag of another.
        if tag not in (event.tag, event.numbered) or all(one.event != kept for one in manifest.entries):
            yield HistoryProblem(event.to, f"the tag {tag} is not in the manifest of version {event.to}")


def _elsewhere(found: Sequence[Event], aliases: Aliases) -> Iterator[HistoryProblem]:
    pile = champions(found)
    if not pile or all(event.previous is None for event in found):
        return
    expected = {CHAMPION: pile[-1], PREVIOUS: pile[-2] if len(pile) > 1 else None}
    for alias, version in expected.items():
        at = aliases.get(alias)
        if at != version:
            where = f"points at version {at}" if at else "is gone"
            yield HistoryProblem(at, f"the alias {alias} {where}, the history says {version or 'none'}")


def _unlike(found: Mapping[str, Event], key: Key) -> Iterator[HistoryProblem]:
    for tag, event in found.items():
        if event.key != key.id:
            continue
        try:
            fits = key.fits(event.message, base64.b64decode(event.signature or "", validate=True))
        except ValueError:
            fits = False
        if not fits:
            yield HistoryProblem(event.to, f"the tag {tag} has a signature of something else")


def tell_history(records: "Records") -> None:
    """Say what is wrong with the history of a model, where something is."""
    for problem in history_problems(records, key=verify_key()):
        _log.warning("%s: %s", records.name, problem.said)

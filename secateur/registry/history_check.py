"""Whether the history of a model is whole: each event names the one before, and each version the moves that made it."""

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.registry.history import FIRST, Event, champions, events, tag_of
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
    tags, found = records.tags(), events(records)
    versions = {entry.version: entry for entry in records.registry.versions(records.name)}
    problems = [*_unlinked(tags, found), *_unknown_to_history(tags, versions)]
    problems += [] if key is None else _unlike(found, key)
    if TRANSITION not in tags:  # else a move is under way, and not all of it is written yet
        problems += [*_unknown_to_version(tags, found, versions), *_elsewhere(found, records.aliases())]
    return problems


def _unlinked(tags: Mapping[str, str], found: Sequence[Event]) -> Iterator[HistoryProblem]:
    names = sorted(tag for tag in tags if tag.startswith(HISTORY))
    before = dict(zip(names[1:], names[:-1], strict=True))
    for event in found:
        tag = tag_of(event.number)
        expected = digest_of(tags[before[tag]]) if tag in before else FIRST
        if event.previous is not None and event.previous != expected:
            said = f"the tag {tag} does not follow {before.get(tag, 'nothing')}: an event was changed or taken out"
            yield HistoryProblem(event.to, said)


def _unknown_to_history(tags: Mapping[str, str], versions: Mapping[str, RegisteredVersion]) -> Iterator[HistoryProblem]:
    for version, entry in sorted(versions.items(), key=lambda pair: int(pair[0])):
        manifest = manifest_of(entry.tags)
        # Numbers are given again where tags were taken away: the last one of a number counts.
        known = {} if manifest is None else {one.event[0]: one for one in manifest.entries if one.event is not None}
        for number, one in sorted(known.items()):
            text = tags.get(tag_of(number))
            if text is None or (one.event is not None and digest_of(text) != one.event[1]):
                what = "is gone" if text is None else "was changed"
                said = f"the tag {tag_of(number)} {what}: version {version} was {one.what.replace('_', ' ')} by it"
                yield HistoryProblem(version, said)


def _unknown_to_version(
    tags: Mapping[str, str], found: Sequence[Event], versions: Mapping[str, RegisteredVersion]
) -> Iterator[HistoryProblem]:
    for event in found:
        entry = versions.get(event.to)
        manifest = None if entry is None else manifest_of(entry.tags)
        if manifest is None or event.manifest is None:
            continue
        text = tags.get(tag_of(event.number))  # an event may stand under the tag of another
        kept = None if text is None else (event.number, digest_of(text))
        if kept is None or all(one.event != kept for one in manifest.entries):
            said = f"the tag {tag_of(event.number)} is not in the manifest of version {event.to}"
            yield HistoryProblem(event.to, said)


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


def _unlike(found: Sequence[Event], key: Key) -> Iterator[HistoryProblem]:
    for event in found:
        if event.key != key.id:
            continue
        try:
            fits = key.fits(event.message, base64.b64decode(event.signature or "", validate=True))
        except ValueError:
            fits = False
        if not fits:
            yield HistoryProblem(event.to, f"the tag {tag_of(event.number)} has a signature of something else")


def tell_history(records: "Records") -> None:
    """Say what is wrong with the history of a model, where something is."""
    for problem in history_problems(records, key=verify_key()):
        _log.warning("%s: %s", records.name, problem.said)

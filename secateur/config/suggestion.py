"""What somebody may have meant who named a parameter that does not exist."""

import re
from difflib import SequenceMatcher, get_close_matches

from secateur.config.base import Section

_ROUND = re.compile(r"\br\d+\b")
_CLOSE = 0.75
_MOST = 3


def did_you_mean(name: str, *, of: type[Section] | None = None) -> str:
    """Return ``did you mean a or b? `` for a dotted name that no parameter has, or nothing when none is close.

    A name that stands elsewhere is meant there: ``prune.epochs`` is ``prune.recovery.epochs``, and one of a round.

    Args:
        name: as it was given.
        of: the section that it was looked for in; None = all of params.yaml.
    """
    from secateur.config.catalogue import parameters  # it reads the schema, which comes from here

    item = _ROUND.search(name)
    listed = parameters() if of is None else parameters(of)
    known = [parameter["name"].replace("rN", item[0] if item else "r1") for parameter in listed]
    found = _meant(name, known)
    return f"did you mean {' or '.join(found)}? " if found else ""


def _meant(name: str, known: list[str]) -> list[str]:
    def likeness(candidate: str) -> float:
        return -SequenceMatcher(None, name, candidate).ratio()

    last = name.rpartition(".")[2]
    if same := [candidate for candidate in known if candidate.rpartition(".")[2] == last]:
        return sorted(same, key=likeness)[:_MOST]
    parent = name.rpartition(".")[0]
    siblings = {
        candidate.rpartition(".")[2]: candidate for candidate in known if candidate.rpartition(".")[0] == parent
    }
    if close := get_close_matches(last, list(siblings), n=1, cutoff=0.6):
        return [siblings[close[0]]]
    return get_close_matches(name, known, n=1, cutoff=_CLOSE)

"""News that were told, and letters that nobody has taken yet, in files of a project: a kill loses and doubles none."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from secateur.announcements.webhook import Letter
from secateur.files import write_json

_TOLD_FOR = timedelta(days=30)
_WAITS_FOR = timedelta(days=7)
_MAX_TOLD = 500
_MAX_WAITING = 20


class Outbox:
    """The folder ``announcements`` below a project's state.

    A letter is written before its news counts as told, and goes when it was taken: who is killed in between leaves a
    letter that is sent with the same key.
    """

    def __init__(self, state: Path) -> None:
        """Name the folder; nothing is made."""
        self._folder = state / "announcements"
        self._told = self._folder / "told.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let one process at a time tell.

        Raises:
            OSError: nothing can be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def was_told(self, key: str) -> bool:
        """Tell whether news were told within the last month."""
        return key in self._read()

    def note(self, key: str) -> None:
        """Keep that news were told, of the newest 500."""
        kept = {**self._read(), key: datetime.now(UTC).isoformat()}
        newest = sorted(kept, key=lambda one: kept[one])[-_MAX_TOLD:]
        write_json(self._told, {one: kept[one] for one in newest})

    def put(self, letter: Letter) -> None:
        """Keep a letter until it is taken."""
        write_json(self._file(letter), {**asdict(letter), "since": datetime.now(UTC).isoformat()})

    def remove(self, letter: Letter) -> None:
        """Drop a letter."""
        self._file(letter).unlink(missing_ok=True)

    def waiting(self, address: str | None) -> list[Letter]:
        """Return the letters to an address that nobody has taken, oldest first.

        Those to another one, of more than a week, or beyond 20 are dropped.
        """
        found: list[tuple[str, Letter]] = []
        for file in self._folder.glob("letter-*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                values = json.loads(file.read_text(encoding="utf-8"))
                is_young = datetime.now(UTC) - datetime.fromisoformat(values["since"]) < _WAITS_FOR
                if is_young and values["address"] == address:
                    found.append((values["since"], Letter(values["address"], values["body"], values["key"])))
                    continue
            file.unlink(missing_ok=True)
        ordered = [letter for _, letter in sorted(found, key=lambda pair: pair[0])]
        for letter in ordered[:-_MAX_WAITING]:
            self.remove(letter)
        return ordered[-_MAX_WAITING:]

    def _file(self, letter: Letter) -> Path:
        return self._folder / f"letter-{letter.key[:32]}.json"

    def _read(self) -> dict[str, str]:
        try:
            values = json.loads(self._told.read_text(encoding="utf-8"))
            limit = datetime.now(UTC) - _TOLD_FOR
            return {key: when for key, when in values.items() if datetime.fromisoformat(when) > limit}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

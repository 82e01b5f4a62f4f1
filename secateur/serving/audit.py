"""Who asked for what, when, and what became of it; never a text."""

import json
import logging
import os
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import final

from secateur.errors import ConfigError

_log = logging.getLogger(__name__)


@final
class Audit:
    """A file with a line of JSON per request. Whoever rotates it moves it away: the next line begins a new one."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            self._file = _File(path, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the audit log {path} cannot be written: {error.strerror}") from error

    def write(self, *, who: str | None, client: str, method: str, route: str, status: int, seconds: float) -> None:
        """Add a line.

        Args:
            who: name of the token; None without one.
            client: its address.
            method: of HTTP.
            route: one of the server's, or ``other``: what stands in a path may be a text.
            status: of the answer.
            seconds: until it was sent.
        """
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "client": client,
            "method": method if method.isalpha() and len(method) <= 10 else "other",
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        self._file.handle(logging.makeLogRecord({"msg": json.dumps(line)}))


class _File(WatchedFileHandler):
    """For its owner alone, since it says who uses the model, and when; after a rotation too.

    Goes on when the disk is full, and says so once until it can be written again.
    """

    _failing = False

    def emit(self, record: logging.LogRecord) -> None:
        before = self._failing
        self._failing = False
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)
        if self._failing and not before:
            _log.error("the audit log %s cannot be written; requests are answered all the same", self.baseFilename)

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_for_its_owner)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the method of logging
        self._failing = True


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

"""What campaigns of faults have tried: a line of JSON for each, so that the next start goes on."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


class FaultLog:
    """One file of a campaign."""

    def __init__(self, file: Path) -> None:
        """Begin, or go on with, a file."""
        self._file = file

    def read(self) -> list[dict[str, Any]]:
        """Return what was tried before; lists as the tuples that they were."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [{key: _as_it_was(value) for key, value in json.loads(line).items()} for line in lines]

    def note(self, tried: Any, *, show: bool) -> None:
        """Keep one that was tried, and print it where somebody is to look at it."""
        line = json.dumps(asdict(tried)) + "\n"
        with self._file.open("a") as file:
            file.write(line)
        if show:
            sys.stdout.write(line)
            sys.stdout.flush()


def _as_it_was(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

"""Faults at a write, whoever writes: ``python -m tests.faults ROOT POINT HOW COMMAND...`` runs a command with one.

A fault point is a file or folder below ROOT that Python is about to create, write, rename or remove, and a statement
with which a registry is about to be changed: those of our own file layer, of DVC, of MLflow and of whatever else there
is. At the POINT-th (from 1), HOW is what happens: ``kill`` is kill -9; ``full`` leaves no space from there on, for what
needs some; ``read-only`` lets nothing be written any more; ``count`` does nothing, and writes down at the end how
many points there were, into the file that FAULTS_COUNTED names. ``moment`` is kill -9 after POINT seconds, wherever it
is then.
"""

import errno
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Literal

How = Literal["kill", "full", "read-only", "count", "moment"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TAKES_SPACE = frozenset({"open", "os.mkdir", "os.link", "os.symlink", "statement"})
_OTHERS = frozenset({"os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod"})
_STATEMENTS = ("INSERT", "UPDATE", "DELETE")


class Faults:
    """Counts the points of this process, and lets one of them fail. It cannot be taken back: meant for a fork."""

    def __init__(self, root: Path, *, at: int, how: How) -> None:
        """Remember what is to happen, and do nothing yet."""
        self.root, self.at, self.how = f"{root}{os.sep}", at, how
        self.passed = 0
        self.last = ""

    def install(self) -> None:
        """Begin to count."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "before_cursor_execute", self._statement)
        sys.addaudithook(self._audited)

    def _statement(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.lstrip().upper().startswith(_STATEMENTS):
            self._pass("statement", statement[:60])

    def _audited(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
            if not writes:
                return
        elif name in _TAKES_SPACE or name in _OTHERS:
            path = arguments[0]
        else:
            return
        if isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(self.root):
            self._pass(name, os.fspath(path))

    def _pass(self, name: str, what: str) -> None:
        self.passed += 1
        if self.how == "count" or self.passed < self.at:
            return
        self.last = self.last or f"{name} {what.replace(self.root, '')}"
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "full" and name not in _TAKES_SPACE:
            return
        if name == "statement":
            from sqlalchemy.exc import OperationalError

            said = "database or disk is full" if self.how == "full" else "attempt to write a readonly database"
            raise OperationalError(what, None, sqlite3.OperationalError(said))
        number = errno.ENOSPC if self.how == "full" else errno.EROFS
        raise OSError(number, os.strerror(number), what)


def kill_after(seconds: float) -> None:
    """Let another process end this one by kill -9, wherever it is by then."""
    ours = os.getpid()
    if os.fork() != 0:
        return
    deadline = time.monotonic() + seconds
    while (rest := deadline - time.monotonic()) > 0 and os.getppid() == ours:
        time.sleep(min(rest, 0.1))
    if os.getppid() == ours:
        os.kill(ours, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Run a command of secateur with a fault."""
    root, at, how, *command = sys.argv[1:]
    # What is needed to find this file is no part of the command, whose code would be another with it.
    found_by = os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [folder for folder in sys.path if folder != found_by]
    sys.argv = ["secateur", *command]
    from secateur.cli import main as secateur

    faults = Faults(Path(root).resolve(), at=0 if how == "moment" else int(at), how=how)  # type: ignore[arg-type]
    if how == "moment":
        kill_after(float(at))
    else:
        faults.install()
    try:
        secateur()
    finally:
        if counted := os.environ.get("FAULTS_COUNTED"):
            Path(counted).write_text(f"{faults.passed} {faults.last}")


if __name__ == "__main__":
    main()

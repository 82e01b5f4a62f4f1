"""Ctrl-C and SIGTERM end a command within seconds, with one line and without a child left, whatever it is doing.

The main thread unwinds: a move of the champion is taken back, a worktree removed. What has not ended by itself after
``GRACE_S`` is ended, because a library may wait for minutes. Nothing is lost by that: a stage survives a kill at any
moment.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from psutil import Process

GRACE_S = 4.0
_NOTE_S = 1.0
_CHILDREN_S = 1.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Waits for a signal from the moment it is made; one per process, made in its main thread.

    Args:
        line: said on standard error when a signal arrives, before anything unwinds; nothing is said after it. None
            says nothing, because whoever started this process does.
        grace_s: how long the main thread may unwind.
    """

    def __init__(self, line: str | None, *, grace_s: float = GRACE_S) -> None:
        self._line, self._grace_s = line, grace_s
        self._asked = 0
        self._unwinding = False
        self._children: set[Process] = set()
        self._noted, self._ending = threading.Event(), threading.Lock()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # whoever started us wants it ignored
                signal.signal(number, self._interrupt)
        # The interpreter writes the number at once, also while the main thread is deep in a library, and also when
        # that library has put its own handler in the place of ours.
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_forget)
        threading.Thread(target=self._watch, args=(reading,), name="stopping", daemon=True).start()

    @property
    def asked(self) -> bool:
        """Whether a signal has arrived."""
        return self._asked != 0

    def end(self) -> NoReturn:
        """End the process and its children; the exit code is a shell's, 130 or 143.

        Exit handlers are left out: those of libraries wait for servers and threads.
        """
        with suppress(Exception):
            sys.stdout.flush()
        self._end()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Unwind the main thread once: a second signal must not break off what the first one has it take back."""
        self._noted.wait(_NOTE_S)
        if not self._unwinding:
            self._unwinding = True
            raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        while (number := os.read(reading, 1)[0]) not in _SIGNALS:
            pass
        self._asked = number
        _say_last(self._line)
        self._children = _descendants()  # before a parent among them ends, and its children are nobody's
        self._noted.set()
        time.sleep(self._grace_s)
        self._end()

    def _end(self) -> NoReturn:
        self._ending.acquire()  # for good: whoever comes second waits for the end of the process
        import psutil

        children = self._children | _descendants()
        for ask in (psutil.Process.terminate, psutil.Process.kill):
            for child in children:
                with suppress(psutil.Error):
                    ask(child)
            psutil.wait_procs(list(children), timeout=_CHILDREN_S)
            children = {child for child in children | _descendants() if child.is_running()}
            if not children:
                break
        os._exit(128 + self._asked)


def only_unwind() -> None:
    """From here on both signals raise ``KeyboardInterrupt`` and that is all: a server ends in its own time."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def _say_last(line: str | None) -> None:
    """Write a line to standard error, and let nothing follow it: what unwinds has much to say."""
    if line is not None:
        # A bar may stand on this line, and have hidden the cursor.
        prefix = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
        with suppress(OSError):
            os.write(2, f"{prefix}{line}\n".encode())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _descendants() -> "set[Process]":
    import psutil

    with suppress(psutil.Error):
        return set(psutil.Process().children(recursive=True))
    return set()


def _forget() -> None:
    """In a fork: its signals are not those of its parent, with which it shares the pipe."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)

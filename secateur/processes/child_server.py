"""A server of ours in a process of its own: started with a log, waited for, and ended when this process ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from secateur.errors import ProjectError

HOST = "127.0.0.1"

_START_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1


class ServerDidNotStart(ProjectError):
    """A server of ours ended, or took too long; what does not need it goes on."""


@dataclass(frozen=True)
class ChildServer:
    """One that was started.

    Attributes:
        name: in messages.
        process: leads a session of its own.
        log: what it says.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path | None = None,
        watches_input: bool = False,
    ) -> "ChildServer":
        """Start a command.

        Args:
            name: in messages.
            command: with its arguments.
            log: is written anew.
            environment: all of it.
            folder: where it runs; None for the current one.
            watches_input: it ends by itself when its standard input closes, as the kernel does when this process is
                killed; else the kernel is asked to end it (on Linux).
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        asks_kernel = not watches_input and sys.platform == "linux"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE if watches_input else None,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends this process first, which ends the server
                preexec_fn=_end_with_parent if asks_kernel else None,  # noqa: PLW1509  # the only other thread waits for a signal
            )
        return cls(name, process, log)

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Return once it answers.

        Raises:
            ServerDidNotStart: it ended, or does not answer in time; the message names its log.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerDidNotStart(f"{self.name} ended at once; {self.log} says why")
            if answers():
                return
            time.sleep(0.1)
        raise ServerDidNotStart(f"{self.name} does not answer after {_START_SECONDS:.0f} s; {self.log} says why")

    def stop(self, *, patience_s: float) -> None:
        """End it and the workers that it started, which live in its session."""
        if self.process.poll() is None:
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=patience_s)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port(*, preferred: int = 0) -> int:
    """Return a port of the loopback interface that nobody listens on: the preferred one, or another.

    Raises:
        ServerDidNotStart: there is none.
    """
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerDidNotStart(f"no free port on {HOST}")


def _end_with_parent() -> None:
    """Have the kernel end the server when this process is killed, which leaves no time to do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

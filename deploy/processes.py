"""A server as a child process: its log, its end, and whether it answers."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.errors import ProjectError

HOST = "127.0.0.1"
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Account:
    """Whom a server runs as; PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    def options(self) -> dict[str, Any]:
        """Return what ``subprocess`` takes to run as this account and with none of our groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class Server:
    """One child in a process group of its own, so that Ctrl-C reaches it through us and in our order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
        end_with: signal.Signals = signal.SIGTERM,
        cwd: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            name: for messages.
            command: what is executed.
            log: takes what it prints; written anew.
            environment: added to ours.
            account: whom it runs as; None is us.
            end_with: the signal that asks it to end.
            cwd: where it runs; None is here.
        """
        self.name, self._log, self._end_with = name, log, end_with
        log.parent.mkdir(parents=True, exist_ok=True)

        def end_with_parent() -> None:
            # The kernel ends the server when we are killed, which leaves us no time to do it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, end_with)

        with log.open("wb") as file:
            self._process = subprocess.Popen(
                list(command),
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  # no threads yet
                **({} if account is None else account.options()),
            )

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the child itself."""
        return self._process.pid

    def failure(self, what: str) -> ProjectError:
        """Say what went wrong, with the last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return ProjectError(f"{self.name} {what}; the last line of {self._log} is: {last[:200]}")

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Return when it answers.

        Raises:
            ProjectError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not answers():
            if self.ended:
                raise self.failure("ended at once")
            if time.monotonic() > deadline:
                raise self.failure(f"does not answer after {_START_SECONDS:.0f} s")
            time.sleep(0.2)

    def stop(self) -> None:
        """Ask it to end, wait, and end what is left of its group."""
        if not self.ended:
            self._process.send_signal(self._end_with)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_STOP_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def http_answers(url: str) -> bool:
    """Tell whether something answers there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own address
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def claim_port(port: int, *, option: str) -> int:
    """Return a port that nobody listens on; 0 finds one.

    Raises:
        ProjectError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ProjectError(
                f"port {port} of {HOST} is taken ({error.strerror}); ask for another with {option} N, 0 is a free one"
            ) from error
        return int(probe.getsockname()[1])

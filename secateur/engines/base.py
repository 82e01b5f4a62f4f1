"""What an engine is to us: it runs a piece of work on some worker, and says what became of it.

Both engines are used through this alone, and through nothing that one of them has and the other has not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from secateur.errors import ProjectError


class WorkerLost(Exception):
    """The worker ended while it was at work; the same work may be sent to another one."""


class EngineGone(ProjectError):
    """There is no cluster at the address, or it went away."""


@dataclass(frozen=True)
class Installed:
    """The package on a machine.

    Attributes:
        version: of secateur.
        code: digest of its files.
    """

    version: str
    code: str


@dataclass(frozen=True)
class Work:
    """What is sent to a worker: text and small files; what is large it fetches itself.

    Attributes:
        title: in messages, ``prune@r2``.
        module: is run as ``python -m``, in a folder that holds the files.
        asked: is told it as a line of JSON on standard input.
        files: relative path -> content.
        installed: the package of who asks, which must be the worker's.
        scratch: where workers make their folders; None takes the machine's place for temporary files.
        on_gpu: it needs one.
    """

    title: str
    module: str
    asked: Mapping[str, Any]
    files: Mapping[str, bytes]
    installed: Installed
    scratch: str | None = None
    on_gpu: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a piece of work.

    Attributes:
        worker: host and process that did it.
        started: seconds since 1970, by the clock of the worker.
        ended: the same.
        said: what the module answered, or None.
        refused: name and line of the error that the module or the worker refused with.
        failed: how the module ended when it neither answered nor refused.
        killed: it was ended by a signal, which another try may not meet.
    """

    worker: str
    started: float
    ended: float
    said: Mapping[str, Any] | None = None
    refused: tuple[str, str] | None = None
    failed: str | None = None
    killed: bool = False


class Ticket(Protocol):
    """A piece of work that was sent off."""

    def wait(self) -> Answer:
        """Return what became of it.

        Raises:
            WorkerLost: nobody knows, because its worker ended.
            EngineGone: the cluster does not answer any more.
        """


class Engine(Protocol):
    """A cluster; workers take one piece of work after the other."""

    def workers(self) -> Mapping[str, Installed | str]:
        """Return name -> the package of every worker, or a line where it cannot say.

        Raises:
            EngineGone: the cluster does not answer.
        """

    def submit(self, work: Work) -> Ticket:
        """Send work off; it begins as soon as a worker is free."""

    def close(self) -> None:
        """Take back what has not begun, and end a cluster that was started for this run."""

"""Work on a Dask cluster: one that is there, or processes on this machine that end with the run."""

import logging
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from uuid import uuid4

import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.comm import CommClosedError

from secateur.engines.base import Answer, EngineGone, Installed, Ticket, Work, WorkerLost
from secateur.engines.performing import installed, perform
from secateur.engines.setting import Setting
from secateur.processes.child_server import HOST

_CONNECT_S = 15
_OF_OURS = {"distributed.scheduler.allowed-failures": 0}
"""Lost work comes back to us, who say so and send it again; a scheduler of ours would do that in silence."""


class DaskEngine:
    """One connection to a scheduler."""

    def __init__(self, setting: Setting, *, num_workers: int, scratch: str) -> None:
        """Connect to the address, or start a scheduler and workers of one thread each.

        Args:
            setting: says where.
            num_workers: of a cluster that is started.
            scratch: folder for what Dask itself writes then.

        Raises:
            EngineGone: nobody answers at the address, or it has no worker.
        """
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # one error is one line, and it is ours
        self._setting = setting
        with ExitStack() as stack:
            scheduler: str | LocalCluster | None = setting.address
            if scheduler is None:
                stack.enter_context(dask.config.set(_OF_OURS))
                scheduler = stack.enter_context(
                    LocalCluster(
                        n_workers=num_workers,
                        threads_per_worker=1,
                        processes=True,
                        host=HOST,
                        dashboard_address=None,
                        memory_limit=0,  # a stage runs in a child of its worker, which Dask does not measure
                        local_directory=scratch,
                        silence_logs=logging.CRITICAL,
                    )
                )
            try:
                self._client = stack.enter_context(Client(scheduler, timeout=_CONNECT_S, set_as_default=False))
            except (OSError, ValueError) as error:  # TimeoutError among them; ValueError: an address of no kind
                raise self._gone("nobody answers there") from error
            self._open = stack.pop_all()

    def workers(self) -> Mapping[str, Installed | str]:
        """Ask every worker."""
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT_S)
            answers = self._client.run(installed, on_error="return")
        except TimeoutError as error:
            raise self._gone("it has no worker") from error
        except (OSError, CommClosedError) as error:
            raise self._gone("it went away") from error
        return {worker: found if isinstance(found, Installed) else _line(found) for worker, found in answers.items()}

    def submit(self, work: Work) -> Ticket:
        """Send work off; equal work is never taken for the same."""
        future = self._client.submit(perform, work, key=f"secateur-{work.title}-{uuid4().hex}", pure=False, retries=0)
        return _DaskTicket(future, self)

    def close(self) -> None:
        """Disconnect; what has not begun is taken back with the connection."""
        with suppress(OSError, TimeoutError):
            self._open.close()

    def _gone(self, what: str) -> EngineGone:
        return EngineGone(f"{self._setting}: {what}; start a scheduler and workers, or ask for another engine")


@dataclass(frozen=True)
class _DaskTicket:
    future: Future
    engine: DaskEngine

    def wait(self) -> Answer:
        try:
            answer = self.future.result()
        except KilledWorker as error:
            raise WorkerLost(str(error.last_worker.address)) from error
        except (CancelledError, OSError) as error:
            raise self.engine._gone("it went away while it was at work") from error
        assert isinstance(answer, Answer)
        return answer


def _line(error: object) -> str:
    """Say in words what a worker raised when it was asked which package it has."""
    if isinstance(error, ImportError | AttributeError):
        return "has no secateur, or one that knows no engines"
    return " ".join(f"did not answer: {type(error).__name__}: {error}".split())

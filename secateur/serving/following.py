"""The model that answers, and its successor when the alias moves."""

import asyncio
import logging
from dataclasses import dataclass
from typing import final

from secateur.errors import SecateurError
from secateur.registry.mlflow_artifacts import version_of_alias
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import SCHEME
from secateur.serving.figures import Figures
from secateur.serving.live.traffic import Traffic
from secateur.serving.served import Served, load
from secateur.workflow.project import Project

_RETRY_POLLS = 12
"""A rejected version is tried again after this many polls: its store may have been away for a moment."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rejection:
    """A version that the alias points at and that is not taken over."""

    version: str
    reason: str


@final
class Models:
    """Holds the version in use; ``follow`` replaces it as a whole, beside the running requests."""

    def __init__(
        self,
        first: Served,
        *,
        project: Project | None,
        reference: str,
        num_threads: int,
        figures: Figures,
        watched: Traffic | None = None,
    ) -> None:
        """Start with a loaded model.

        Args:
            first: the model of the reference.
            project: whose registry is asked.
            reference: what the user named; only an alias is followed.
            num_threads: threads of the runtime.
            figures: where takeovers are counted.
            watched: what looks at the traffic, and begins anew with every version.
        """
        self.current = first
        self.rejected: Rejection | None = None
        self.registry_problem: str | None = None
        self.alias = reference if reference.startswith(SCHEME) and "@" in reference else None
        self._project = project
        self._num_threads = num_threads
        self._figures = figures
        self._watched = watched
        self._registry: ModelRegistry | None = None
        self._polls_until_retry = 0
        self._show(first, present=True)
        if self.alias is not None:
            # Opening a registry holds the interpreter for a second: before the first request, not beside it.
            self._version()

    async def follow(self, *, poll_s: float) -> None:
        """Look at the alias for ever."""
        while self.alias is not None:
            await asyncio.sleep(poll_s)
            await self.look()

    async def look(self) -> None:
        """Take over the version that the alias points at, if it is another one and in order."""
        try:
            version = await asyncio.to_thread(self._version)
        except SecateurError as error:
            self._note_registry(str(error))
            return
        # The loop must outlive whatever a registry can raise: the model in memory still answers.
        except Exception as error:  # noqa: BLE001
            self._note_registry(f"{type(error).__name__}: {' '.join(str(error).split())}")
            return
        self.registry_problem = None
        if version == self.current.source.version:
            self._reject(None)
            return
        if self.rejected is not None and self.rejected.version == version and self._polls_until_retry > 0:
            self._polls_until_retry -= 1
            return
        await self._take_over(version)

    async def _take_over(self, version: str) -> None:
        name = self.current.source.name
        try:
            successor = await asyncio.to_thread(
                load,
                self._project,
                f"{SCHEME}{name}/{version}",
                num_threads=self._num_threads,
                registry=self._registry,
            )
        # A file that was never meant to be loaded may raise anything; the old version goes on.
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split()) or type(error).__name__
            self._reject(Rejection(version, reason))
            return
        before = self.current
        # The routes are those of the first model; another process has others.
        if successor.kind is not before.kind:
            self._reject(
                Rejection(version, f"it is for {successor.kind.name}, this server answers for {before.kind.name}")
            )
            return
        if _read_by(successor) != _read_by(before):
            self._reject(
                Rejection(version, f"it reads {_read_by(successor)}, this server answers for {_read_by(before)}")
            )
            return
        try:
            learned = None if self._watched is None else await asyncio.to_thread(self._watched.learn, successor)
        # Asking a model and a registry may raise anything, too; nobody takes over what cannot be asked.
        except Exception as error:  # noqa: BLE001
            self._reject(Rejection(version, f"its rows cannot be measured: {' '.join(str(error).split())}"))
            return
        self.current = successor
        if self._watched is not None and learned is not None:
            self._watched.begin(successor, learned)
        self._reject(None)
        self._show(before, present=False)
        self._show(successor, present=True)
        self._figures.takeovers.labels("taken").inc()
        _log.info("took over %s; before it: %s", successor.source.label, before.source.label)

    def _version(self) -> str:
        assert self.alias is not None
        if self._registry is None:
            from secateur.workflow.project import find_project

            self._registry = ModelRegistry(self._project or find_project())
        return version_of_alias(self._registry, self.current.source.name, self.alias.rpartition("@")[2])

    def _reject(self, rejection: Rejection | None) -> None:
        if self.rejected is not None:
            self._figures.rejected.labels(self.rejected.version).set(0)
        if rejection is not None:
            self._figures.rejected.labels(rejection.version).set(1)
            self._figures.takeovers.labels("rejected").inc()
            self._polls_until_retry = _RETRY_POLLS
            _log.error("version %s is not taken over: %s", rejection.version, rejection.reason)
        self.rejected = rejection

    def _note_registry(self, problem: str) -> None:
        if self.registry_problem is None:
            _log.error("the alias cannot be followed: %s", problem)
        self.registry_problem = problem

    def _show(self, served: Served, *, present: bool) -> None:
        source = served.source
        self._figures.model.labels(served.name, source.version or "", source.runtime).set(int(present))


def _read_by(served: Served) -> str:
    return "pairs of texts" if served.num_texts == 2 else "single texts"

"""Another version beside the one that answers: asked the same, in a process of its own, and never waited for."""

import asyncio
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

from secateur.errors import ConfigError, SecateurError
from secateur.inference.prediction import Prediction
from secateur.registry.mlflow_artifacts import version_of_alias
from secateur.registry.mlflow_store import ModelRegistry, parse_reference
from secateur.registry.model_source import SCHEME
from secateur.scheduling.live import Shadowed
from secateur.serving.live.feedback import LEVEL, Truth, field_of, truth_of
from secateur.serving.refusals import without_folders
from secateur.serving.served import Served
from secateur.statistics.shares import wilson
from secateur.workflow.project import Project

_MAX_BATCH = 32
_START_S = 180.0
_ANSWER_S = 60.0
_LINE_BYTES = 1 << 24
NICENESS = 10
"""Of its process: on a busy machine those who answer go first, and texts are dropped."""

_STARTING = "it is being loaded"
_MIN_NUMBERS = 30
"""Answers after which their spread is known well enough to say which numbers differ."""

_log = logging.getLogger(__name__)


class _Failed(Exception):
    """The process does not do what it is for."""


@dataclass(frozen=True)
class _Pair:
    text: str
    said: Truth


@final
class Shadow:
    """Asks another version what the champion was asked, and counts where they disagree.

    ``offer`` is called with every answer and takes what there is room for. A process with a low priority does the rest:
    what fails there is told, and the champion goes on.
    """

    def __init__(self, project: Project, reference: str, champion: Served, *, num_threads: int, max_queue: int) -> None:
        """Find out which version it is; ``run`` starts it.

        Raises:
            ConfigError: the reference names no registered model.
        """
        self._name, self._alias, self._fixed = parse_reference(reference)
        if not reference.startswith(SCHEME) or (self._alias or self._fixed) is None:
            raise ConfigError(f"serve.shadow={reference} names no version; write {SCHEME}name@challenger")
        self._project = project
        self._num_threads = num_threads
        self._max_queue = max_queue
        # Opening a registry holds the interpreter for a second: before the first request, not beside it.
        self._registry = ModelRegistry(project)
        self._queue: deque[_Pair] = deque()
        self._arrived = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._version: str | None = None
        self._before: Shadowed | None = None
        self.begin(champion)

    def begin(self, champion: Served) -> None:
        """Compare with another champion from here on."""
        self._champion = champion
        self._field = field_of(champion.kind)
        self._queue.clear()
        self._spread = _Spread()
        self._texts = self._disagreed = self._dropped = 0
        self._problem: str | None = _STARTING
        self._tried: tuple[str | None, str | None] = (None, None)

    def resume(self, before: Shadowed | None) -> None:
        """Go on with what another process has counted of the same two versions, once it is known that they are."""
        self._before = before if before is not None and before.name == self._name else None

    def offer(self, texts: Sequence[str], said: Sequence[Prediction | str]) -> None:
        """Take the answers to a request, where there is room for them."""
        if self._process is None:
            return
        for text, prediction in zip(texts, said, strict=True):
            if isinstance(prediction, str):
                continue
            if len(self._queue) >= self._max_queue:
                self._dropped += 1
                continue
            self._queue.append(_Pair(text, truth_of(prediction, self._field)))
        self._arrived.set()

    def shadowed(self) -> Shadowed:
        """Return how often they disagreed."""
        share: dict[str, float] = {}
        if self._texts:
            low, high = wilson(self._disagreed, self._texts, level=LEVEL)
            share = {"value": self._disagreed / self._texts, "low": low, "high": high}
        return Shadowed(
            name=self._name,
            champion=self._champion.source.version,
            challenger=self._version,
            texts=self._texts,
            disagreed=self._disagreed,
            dropped=self._dropped,
            problem=self._problem,
            **share,
        )

    async def run(self, *, poll_s: float) -> None:
        """Follow the alias, and ask, until cancelled."""
        try:
            while True:
                await self._look()
                await self._score(for_s=poll_s)
        finally:
            await self._stop()

    async def _look(self) -> None:
        """Start the version that the alias points at, if it is another one; one that failed is not tried again."""
        try:
            version = self._fixed or await asyncio.to_thread(self._aliased)
        # Whatever a registry raises, the one that runs goes on.
        except Exception as error:  # noqa: BLE001
            if self._process is None:
                self._tell(" ".join(str(error).split()))
            return
        pair = (self._champion.source.version, version)
        if pair == self._tried:
            return
        if version != self._version:
            await self._stop()
        self._tried, self._version = pair, version
        self._texts = self._disagreed = self._dropped = 0
        self._problem = _STARTING
        if self._is_champion(version):
            await self._stop()
            self._problem = f"version {version} is the champion"
            return
        if (before := self._before) is not None and (before.champion, before.challenger) == pair:
            self._texts, self._disagreed, self._dropped = before.texts, before.disagreed, before.dropped
        self._before = None
        try:
            if self._process is None:
                await self._start(f"{SCHEME}{self._name}/{version}")
            self._problem = None
        except (_Failed, SecateurError, OSError) as error:
            await self._fail(str(error))

    def _aliased(self) -> str:
        assert self._alias is not None
        return version_of_alias(self._registry, self._name, self._alias)

    def _is_champion(self, version: str | None) -> bool:
        return (self._champion.source.name, self._champion.source.version) == (self._name, version)

    async def _start(self, reference: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "secateur.serving.live.shadow_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        asked = {"root": str(self._project.root), "reference": reference, "num_threads": self._num_threads}
        asked |= {"niceness": NICENESS}
        try:
            ready = await self._exchange(process, asked, timeout_s=_START_S)
        except BaseException:
            await _end(process)
            raise
        found, wanted = (ready.get("does"), described(self._champion))
        if found != wanted:
            await _end(process)
            raise _Failed(f"it is a model for {found}, the champion one for {wanted}")
        self._process = process
        _log.info("%s is asked beside the champion", reference)

    async def _exchange(
        self, process: asyncio.subprocess.Process, asked: dict[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError as error:
            raise _Failed(f"it did not answer within {timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            raise _Failed(f"its process cannot be asked: {type(error).__name__}") from error
        if not line:
            raise _Failed(f"its process ended with code {await process.wait()}")
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise _Failed("its process writes no JSON") from error
        if "problem" in answer:
            raise _Failed(answer["problem"])
        return answer

    async def _score(self, *, for_s: float) -> None:
        """Ask about what was offered, until the next look at the alias is due."""
        loop = asyncio.get_running_loop()
        end = loop.time() + for_s
        while (left := end - loop.time()) > 0:
            self._arrived.clear()
            if self._queue and self._process is not None:
                pairs = [self._queue.popleft() for _ in range(min(_MAX_BATCH, len(self._queue)))]
                await self._compare(self._process, self._tried, pairs)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrived.wait()

    async def _compare(
        self, process: asyncio.subprocess.Process, of: tuple[str | None, str | None], pairs: Sequence[_Pair]
    ) -> None:
        try:
            answer = await self._exchange(process, {"texts": [pair.text for pair in pairs]}, timeout_s=_ANSWER_S)
        except _Failed as error:
            await self._fail(str(error))
            return
        if of != (self._champion.source.version, self._version):
            return
        answers = answer.get("said", ())
        if len(answers) != len(pairs):
            await self._fail(f"it gave {len(answers)} answers to {len(pairs)} texts")
            return
        for pair, said in zip(pairs, answers, strict=True):
            self._count(pair.said, tuple(said) if isinstance(said, list) else said)

    def _count(self, champion: Truth, challenger: Truth) -> None:
        if isinstance(champion, float) and isinstance(challenger, float):
            self._spread.add(champion)
            if self._spread.count < _MIN_NUMBERS:
                return
            differ = abs(champion - challenger) > self._spread.deviation / 4
        else:
            differ = champion != challenger
        self._texts += 1
        self._disagreed += differ

    async def _fail(self, problem: str) -> None:
        await self._stop()
        self._tell(problem)

    def _tell(self, problem: str) -> None:
        problem = without_folders(problem)
        if problem != self._problem:
            _log.error("the shadow, %s version %s, is not asked: %s", self._name, self._version, problem)
        self._problem = problem

    async def _stop(self) -> None:
        process, self._process = self._process, None
        self._queue.clear()
        if process is not None:
            await _end(process)


def described(served: Served) -> str:
    """Say what a model is for: two that differ in this cannot be asked the same."""
    return f"{served.kind.name} of {'pairs of texts' if served.num_texts == 2 else 'single texts'}"


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@dataclass
class _Spread:
    """Mean and deviation of numbers as they come (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)

    @property
    def deviation(self) -> float:
        return float((self.squares / max(1, self.count)) ** 0.5)

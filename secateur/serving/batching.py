"""Requests that arrive together are answered together, in a thread, so that the event loop stays free."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar, final

from secateur.serving.figures import Figures
from secateur.serving.refusals import Refused
from secateur.serving.served import Served

Text = TypeVar("Text")
"""What is asked about or for one text."""

Result = TypeVar("Result")

_RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Answered(Generic[Result]):
    """The answers to one request, all by one version."""

    served: Served
    results: Sequence[Result]


@dataclass(frozen=True, eq=False)
class _Job(Generic[Text, Result]):
    texts: Sequence[Text]
    kind: Hashable
    answer: asyncio.Future[Answered[Result]]


@final
class Batcher(Generic[Text, Result]):
    """A queue of requests and one thread that empties it.

    A batch holds whole requests of one kind, so one request is answered by one version. It waits for company only
    while fewer texts are here than the last batch held, and never longer than ``max_wait_ms``: a lone client waits for
    nobody.
    """

    def __init__(
        self,
        current: Callable[[], Served],
        work: Callable[[Served, Sequence[Text]], list[Result]],
        *,
        max_batch: int,
        max_wait_ms: float,
        max_queue: int,
        timeout_s: float,
        figures: Figures,
    ) -> None:
        """Make an empty queue; ``run`` empties it.

        Args:
            current: the model to use, asked once per batch.
            work: answers the texts of a batch, in order.
            max_batch: texts at which a batch is full; a larger request makes a batch of its own.
            max_wait_ms: see above.
            max_queue: texts that may wait.
            timeout_s: for the answer to one request.
            figures: where batches are counted.
        """
        self.running = False
        self._current = current
        self._work = work
        self._max_batch = max_batch
        self._max_wait_s = max_wait_ms / 1000
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._figures = figures
        self._queue: deque[_Job[Text, Result]] = deque()
        self._num_waiting = 0
        self._last_texts = 1
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def answer(self, texts: Sequence[Text], *, kind: Hashable = None) -> Answered[Result]:
        """Return the answers to one request.

        Args:
            texts: of the request, at least one.
            kind: only requests of one kind share a batch.

        Raises:
            Refused: 503 too many texts wait, and nothing was queued; 504 it took too long.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(texts, kind)
        except TimeoutError as error:
            raise Refused(504, f"no answer within {self._timeout_s:g} s (serve.timeout_s)") from error

    async def _ask(self, texts: Sequence[Text], kind: Hashable) -> Answered[Result]:
        if self._num_waiting and self._num_waiting + len(texts) > self._max_queue:
            detail = f"{self._max_queue} texts wait already (serve.max_queue); come again in {_RETRY_AFTER_S} s"
            raise Refused(503, detail, retry_after_s=_RETRY_AFTER_S)
        job = _Job[Text, Result](texts, kind, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._count(len(texts))
        self._arrived.set()
        try:
            return await job.answer
        except asyncio.CancelledError:
            # Who timed out makes room at once, or a model that hangs would keep the queue full of nobody.
            if job in self._queue:
                self._queue.remove(job)
                self._count(-len(texts))
            raise

    async def run(self) -> None:
        """Empty the queue until cancelled."""
        self.running = True
        try:
            while True:
                self._arrived.clear()
                if not self._queue:
                    await self._arrived.wait()
                await self._wait_for_company()
                jobs = self._take()
                if jobs:
                    await self._answer(jobs)
        finally:
            self.running = False

    def close(self) -> None:
        """End the thread after the batch that runs."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _wait_for_company(self) -> None:
        wanted = min(self._max_batch, self._last_texts)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._max_wait_s
        while self._num_waiting < wanted and (left := end - loop.time()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Job[Text, Result]]:
        jobs: list[_Job[Text, Result]] = []
        num_texts = 0
        for job in list(self._queue):
            if jobs and job.kind != jobs[0].kind:
                continue
            if jobs and num_texts + len(job.texts) > self._max_batch:
                break
            self._queue.remove(job)
            self._count(-len(job.texts))
            jobs.append(job)
            num_texts += len(job.texts)
        self._last_texts = num_texts or self._last_texts
        return jobs

    async def _answer(self, jobs: Sequence[_Job[Text, Result]]) -> None:
        texts = [text for job in jobs for text in job.texts]
        loop = asyncio.get_running_loop()
        try:
            served, results = await loop.run_in_executor(self._thread, self._run, texts)
        # Nothing that a model raises may end the loop that answers everybody.
        except Exception as error:  # noqa: BLE001
            if len(jobs) > 1:
                # One odd text must not fail those who happened to come at the same time.
                for job in jobs:
                    await self._answer([job])
            elif not jobs[0].answer.done():
                jobs[0].answer.set_exception(error)
            return
        start = 0
        for job in jobs:
            end = start + len(job.texts)
            if not job.answer.done():
                job.answer.set_result(Answered(served, results[start:end]))
            start = end

    def _run(self, texts: Sequence[Text]) -> tuple[Served, list[Result]]:
        served = self._current()
        start = time.perf_counter()
        results = self._work(served, texts)
        self._figures.batch_seconds.observe(time.perf_counter() - start)
        self._figures.batch_texts.observe(len(texts))
        return served, results

    def _count(self, change: int) -> None:
        self._num_waiting += change
        self._figures.waiting.set(self._num_waiting)

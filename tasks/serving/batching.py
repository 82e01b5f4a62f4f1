"""Requests that arrive together are classified together, in a thread, so that the event loop stays free."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

from secateur.evaluation.prediction import Prediction
from tasks.serving.figures import Figures
from tasks.serving.served import Served


class QueueFull(Exception):
    """More texts wait already than may."""


@dataclass(frozen=True)
class Answered:
    """The answers to one request, all by one version."""

    served: Served
    predictions: Sequence[Prediction]


@dataclass(frozen=True, eq=False)
class _Job:
    texts: Sequence[str]
    answer: asyncio.Future[Answered]


@final
class Batcher:
    """A queue of requests and one thread that empties it.

    A batch holds whole requests, so one request is answered by one version. It waits for company only while fewer texts
    are here than the last batch held, and never longer than ``max_wait_ms``: a lone client waits for nobody.
    """

    def __init__(
        self, current: Callable[[], Served], *, max_batch: int, max_wait_ms: float, max_queue: int, figures: Figures
    ) -> None:
        """Make an empty queue; ``run`` empties it.

        Args:
            current: the model to use, asked once per batch.
            max_batch: texts at which a batch is full; a larger request makes a batch of its own.
            max_wait_ms: see above.
            max_queue: texts that may wait.
            figures: where batches are counted.
        """
        self.running = False
        self._current = current
        self._max_batch = max_batch
        self._max_wait_s = max_wait_ms / 1000
        self._max_queue = max_queue
        self._figures = figures
        self._queue: deque[_Job] = deque()
        self._num_waiting = 0
        self._last_texts = 1
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classify")

    async def classify(self, texts: Sequence[str]) -> Answered:
        """Return the answers to one request.

        Raises:
            QueueFull: too many texts wait; nothing was queued.
        """
        if self._num_waiting and self._num_waiting + len(texts) > self._max_queue:
            raise QueueFull
        job = _Job(texts, asyncio.get_running_loop().create_future())
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

    def _take(self) -> list[_Job]:
        jobs: list[_Job] = []
        num_texts = 0
        while self._queue and (not jobs or num_texts + len(self._queue[0].texts) <= self._max_batch):
            job = self._queue.popleft()
            self._count(-len(job.texts))
            jobs.append(job)
            num_texts += len(job.texts)
        self._last_texts = num_texts or self._last_texts
        return jobs

    async def _answer(self, jobs: Sequence[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        loop = asyncio.get_running_loop()
        try:
            served, predictions = await loop.run_in_executor(self._thread, self._classify, texts)
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
                job.answer.set_result(Answered(served, predictions[start:end]))
            start = end

    def _classify(self, texts: Sequence[str]) -> tuple[Served, list[Prediction]]:
        served = self._current()
        start = time.perf_counter()
        predictions = served.predict(texts, batch_size=self._max_batch)
        self._figures.batch_seconds.observe(time.perf_counter() - start)
        self._figures.batch_texts.observe(len(texts))
        for prediction in predictions:
            self._figures.labels.labels(prediction.label, served.source.version or "").inc()
        return served, predictions

    def _count(self, change: int) -> None:
        self._num_waiting += change
        self._figures.waiting.set(self._num_waiting)

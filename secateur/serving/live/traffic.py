"""The traffic of one server: counted as it is answered, compared every so many texts, and kept in a file."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import final

from secateur.errors import ConfigError, ProjectError
from secateur.files import write_json
from secateur.inference.prediction import Prediction
from secateur.scheduling.live import LIVE, Judged, Live, Measured, Shadowed, Unfinished, read_live
from secateur.serving.live.feedback import Feedback
from secateur.serving.live.gauges import Gauges
from secateur.serving.live.measures import answer_values
from secateur.serving.live.reference import Learned, digest_of, learn
from secateur.serving.live.shadow import Shadow
from secateur.serving.live.windows import Windows
from secateur.serving.served import Served
from secateur.workflow.project import Project, locked

TEXTS_PER_S = 64
"""Texts whose length, script and tokens are looked at in a second, drawn by chance: more would cost answers time."""

_TICK_S = 1.0
_WRITE_S = 10.0
_log = logging.getLogger(__name__)


@final
class Traffic:
    """Watches what a server is asked and answers.

    ``saw`` is called in the loop of the server and counts; ``run`` does beside it what takes longer. ``TEXTS_PER_S``
    texts are held, for a second.
    """

    def __init__(
        self,
        project: Project,
        first: Served,
        *,
        window: int,
        max_ids: int,
        gauges: Gauges,
        shadow: Shadow | None = None,
    ) -> None:
        """Take the project's file, and measure what the first model was trained from.

        Args:
            project: whose ``reports/live.json`` is written, by this process alone.
            first: nobody asks it yet.
            window: texts between two comparisons.
            max_ids: answers that feedback may speak of, the newest.
            gauges: where they are shown.
            shadow: another version that is asked the same.

        Raises:
            ConfigError: the model says neither labels nor numbers.
            Occupied: another server watches for this project.
            ProjectError: nothing can be written there.
        """
        if first.kind.route != "predict":
            raise ConfigError(
                f"serve.live watches labels and numbers of whole texts; a model for {first.kind.name} tells none"
            )
        self._held = ExitStack()
        taken = f"{project.root / LIVE} is written by another server (process {{holder}}); serve without --live"
        self._held.enter_context(locked(project, "live.lock", taken=taken))
        self._project = project
        self._size = window
        self._gauges = gauges
        self.shadow = shadow
        self._random = random.Random()
        self.feedback = Feedback(first.kind, max_ids=max_ids)
        self._sample: list[str] = []
        self._sampled_of = 0
        self._written = 0.0
        self._problem: str | None = None
        self.begin(first, self.learn(first))
        self._resume()

    def learn(self, served: Served) -> Learned:
        """Measure what a model was trained from; it takes seconds, and nobody may ask the model meanwhile."""
        return learn(self._project, served)

    def begin(self, served: Served, learned: Learned) -> None:
        """Watch another version from here on."""
        self._served, self._learned = served, learned
        self.windows = Windows(learned.measures, learned.counts, size=self._size)
        self._since = _now()
        self._sample, self._sampled_of = [], 0
        self._gauges.clear()
        if self.shadow is not None:
            self.shadow.begin(served)
        self._gauges.reference.set(learned.rows or 0)

    def saw(
        self, served: Served, texts: Sequence[str], said: Sequence[Prediction | str], *, owner: str | None = None
    ) -> list[str | None]:
        """Count answered texts, and return an id for each; those that a version before has answered are left out.

        Args:
            served: that answered.
            texts: of one request.
            said: of each.
            owner: name of the token that asked.
        """
        ids = self.feedback.remember(served, said, owner=owner)
        if served is not self._served:
            return ids
        windows, answered = self.windows, 0
        for text, prediction in zip(texts, said, strict=True):
            if isinstance(prediction, str):
                continue
            answered += 1
            for name, values in answer_values(prediction, served.kind).items():
                windows.add(name, values)
            self._draw(text)
        windows.took(answered)
        if self.shadow is not None:
            self.shadow.offer(texts, said)
        return ids

    def _draw(self, text: str) -> None:
        """Keep a sample of the texts of this second, each with the same chance (Vitter 1985, algorithm R)."""
        self._sampled_of += 1
        if len(self._sample) < TEXTS_PER_S:
            self._sample.append(text)
        elif (place := int(self._random.random() * self._sampled_of)) < TEXTS_PER_S:
            self._sample[place] = text

    async def run(self) -> None:
        """Measure texts and end windows until cancelled; then write a last time."""
        try:
            while True:
                await asyncio.sleep(_TICK_S)
                try:
                    await self.tick()
                # Whatever is wrong with the counting, it is told, and no reason to stop.
                except Exception as error:  # noqa: BLE001
                    self._tell(f"the traffic was not looked at: {type(error).__name__}: {error}")
        finally:
            await self.tick(write=True)
            self._held.close()

    async def tick(self, *, write: bool = False) -> None:
        """Do what is due; with ``write`` the file is."""
        learned, windows = self._learned, self.windows
        texts, self._sample, self._sampled_of = self._sample, [], 0
        if texts and learned.texts is not None:
            await self._measure(learned, windows, texts)
        ended = windows.end()
        if ended is not None and ended.drifted:
            _log.warning("%s", self.report().drift)
        self._gauges.show(windows)
        self._gauges.show_feedback(self._judged())
        if self.shadow is not None:
            self._gauges.show_shadow(self.shadow.shadowed())
        if write or ended is not None or time.monotonic() - self._written >= _WRITE_S:
            self._written = time.monotonic()
            await asyncio.to_thread(self._write, self.report())

    async def _measure(self, learned: Learned, windows: Windows, texts: Sequence[str]) -> None:
        assert learned.texts is not None
        try:
            values = await asyncio.to_thread(learned.texts.values, texts)
        # Whatever a tokenizer raises of an odd text, the answers go on, and so does the counting.
        except Exception as error:  # noqa: BLE001
            self._tell(f"texts cannot be measured: {type(error).__name__}")
            return
        for name, given in values.items():
            windows.add(name, given)

    def _judged(self) -> Judged | None:
        version = self._served.source.version
        return next((judged for judged in self.feedback.judged() if judged.version == version), None)

    def report(self) -> Live:
        """Return what the file says."""
        learned, windows = self._learned, self.windows
        shown = windows.counts if windows.last is None else windows.last
        return Live(
            model=self._served.name,
            version=self._served.source.version,
            digest=digest_of(self._served),
            since=self._since,
            written=_now(),
            texts=windows.total,
            window=windows.size,
            reference_rows=learned.rows,
            missing=learned.missing,
            measures=tuple(
                Measured(
                    name=name,
                    bins=measure.bins,
                    reference=tuple(learned.counts[name]) if name in learned.counts else None,
                    current=tuple(shown[name]),
                )
                for name, measure in learned.measures.items()
            ),
            windows=tuple(windows.ended),
            unfinished=Unfinished(
                texts=windows.texts, counts={name: tuple(counts) for name, counts in windows.counts.items()}
            ),
            feedback=self.feedback.judged(),
            shadow=None if self.shadow is None else self.shadow.shadowed(),
        )

    def _resume(self) -> None:
        """Go on with the counts of a server that watched the same files."""
        before = read_live(self._project)
        if before is None:
            return
        is_same = before.digest == digest_of(self._served)
        if before.model == self._served.name:
            feedback, shadow = known_again(before, is_same=is_same)
            self.feedback.resume(feedback)
            if self.shadow is not None:
                self.shadow.resume(shadow)
        if not is_same:
            return
        self._since = before.since
        self.windows.total = before.texts
        self.windows.resume(before.unfinished, before.windows, before.measures)

    def _write(self, report: Live) -> None:
        try:
            write_json(self._project.root / LIVE, report.model_dump(mode="json"))
            self._problem = None
        except (OSError, ProjectError) as error:
            self._tell(f"{LIVE} cannot be written, requests are answered all the same: {error}")

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _log.error("%s", problem)
        self._problem = problem


def known_again(before: Live, *, is_same: bool) -> tuple[tuple[Judged, ...], Shadowed | None]:
    """Return what feedback and a shadow said of models that are still known by their version.

    Args:
        before: what a server kept of a model of this name.
        is_same: its files are those that are served now; a folder, which has no version, is known by nothing else.
    """
    feedback = tuple(judged for judged in before.feedback if is_same or judged.version is not None)
    shadow = before.shadow
    return feedback, shadow if shadow is not None and (is_same or shadow.champion is not None) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

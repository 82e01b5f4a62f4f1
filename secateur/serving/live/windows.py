"""Windows of the traffic, and whether one that has ended is like the training rows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import final

from secateur.data.drift import LARGE_PSI, population_stability, stability_by_chance
from secateur.scheduling.live import Measured, Unfinished, Window
from secateur.serving.live.measures import Measure, Value

LEVEL = 1e-3
"""Chance that one measure of one window is beyond its limit where nothing has changed, at most."""

MAX_WINDOWS = 48
_MIN_TEXTS = 50
_FEW_ROWS = 5
"""Bins that fewer training rows are in are one bin for the index: chance would decide."""


@final
class Windows:
    """Counts of the open window, and what those before it came to."""

    def __init__(self, measures: Mapping[str, Measure], reference: Mapping[str, Sequence[int]], *, size: int) -> None:
        """Begin the first window.

        Args:
            measures: name -> its bins.
            reference: measure -> rows per bin, of those that there are any of.
            size: texts after which a window ends when ``end`` is asked.
        """
        self.measures = measures
        self.reference = reference
        self.size = size
        self.texts = 0
        self.total = 0
        self.ended: list[Window] = []
        self.last: dict[str, list[int]] | None = None
        self.counts = self._none()

    def add(self, name: str, values: Iterable[Value]) -> None:
        """Count values of a measure."""
        measure = self.measures.get(name)
        if measure is not None:
            counts = self.counts[name]
            for value in values:
                counts[measure.place(value)] += 1

    def took(self, num_texts: int) -> None:
        """Count texts."""
        self.texts += num_texts
        self.total += num_texts

    def end(self) -> Window | None:
        """End the window where it is full, and return what it came to."""
        if self.texts < self.size:
            return None
        window = judged(self.reference, self.counts, texts=self.texts)
        self.ended = [*self.ended, window][-MAX_WINDOWS:]
        self.last, self.counts, self.texts = self.counts, self._none(), 0
        return window

    def resume(self, unfinished: Unfinished, ended: Sequence[Window], measures: Sequence[Measured]) -> None:
        """Go on where a server has stopped; an open window is dropped where not all of it was counted in these bins.

        Args:
            unfinished: the open window.
            ended: those before it.
            measures: with their bins, and the counts of the last window.
        """
        bins = {measured.name: measured.bins for measured in measures}
        counts = self._fitting(unfinished.counts, bins)
        if counts.keys() == self.measures.keys():
            self.texts, self.counts = unfinished.texts, counts
        self.ended = list(ended)[-MAX_WINDOWS:]
        last = self._fitting({measured.name: measured.current for measured in measures}, bins)
        self.last = {**self._none(), **last} if self.ended else None

    def _fitting(self, counts: Mapping[str, Sequence[int]], bins: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
        return {
            name: list(counts[name])
            for name, measure in self.measures.items()
            if bins.get(name) == measure.bins and len(counts.get(name, ())) == len(measure.bins)
        }

    def _none(self) -> dict[str, list[int]]:
        return {name: [0] * len(measure.bins) for name, measure in self.measures.items()}


def judged(reference: Mapping[str, Sequence[int]], counts: Mapping[str, Sequence[int]], *, texts: int) -> Window:
    """Compare the counts of a window with those of the training rows.

    A measure has drifted where its index is large and larger than chance makes it: beyond ``LARGE_PSI``, and beyond
    what two samples of one distribution exceed once in ``1 / LEVEL`` windows.
    """
    psi, limits = {}, {}
    for name, rows in reference.items():
        before, now = _together(rows, counts[name])
        if min(sum(before), sum(now)) >= _MIN_TEXTS and len(before) > 1:
            chance = stability_by_chance(len(before), reference=sum(before), current=sum(now), level=LEVEL)
            psi[name] = round(population_stability(before, now), 4)
            limits[name] = round(max(LARGE_PSI, chance), 4)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    return Window(ended=ended, texts=texts, psi=psi, limits=limits)


def _together(reference: Sequence[int], current: Sequence[int]) -> tuple[list[int], list[int]]:
    kept = [place for place, rows in enumerate(reference) if rows >= _FEW_ROWS]
    rest = [place for place, rows in enumerate(reference) if rows < _FEW_ROWS]
    before, now = [reference[place] for place in kept], [current[place] for place in kept]
    if rest:
        before.append(sum(reference[place] for place in rest))
        now.append(sum(current[place] for place in rest))
    return before, now

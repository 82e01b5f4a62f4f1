"""What was right, as clients say later: of answers that this server has given, once of each."""

import math
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from secateur.inference.prediction import Prediction
from secateur.kinds.base import Kind
from secateur.scheduling.live import Judged
from secateur.serving.refusals import Refused
from secateur.serving.served import Served
from secateur.statistics.shares import wilson

LEVEL = 0.95
MAX_VERSIONS = 5
"""Versions whose feedback is kept: somebody knows what was right when the next one answers already."""

_ID_BYTES = 12
"""96 bits of chance: nobody finds the answers of others by trying."""

Truth = str | tuple[str, ...] | float
"""The label of a text, its labels in their order, or its number."""


@dataclass(frozen=True, eq=False)
class _Version:
    """Whose answers are remembered; the model itself is not, or it would stay in memory."""

    number: str | None
    labels: frozenset[str]


@dataclass(frozen=True)
class _Remembered:
    version: _Version
    owner: str | None
    said: Truth


def field_of(kind: Kind) -> str:
    """Return the field of an answer that clients correct, under the name that it has there."""
    if kind.tells_numbers:
        return "grade" if "grade" in kind.columns else "number"
    return "labels" if kind.label_sets else "label"


def truth_of(prediction: Prediction, field: str) -> Truth:
    """Return what an answer comes to, without probabilities."""
    if field == "number":
        return prediction.number
    return tuple(sorted(prediction.labels)) if field == "labels" else prediction.label


@final
class Feedback:
    """Remembers the newest answers, and counts how many were right."""

    def __init__(self, kind: Kind, *, max_ids: int) -> None:
        """Remember nothing.

        Args:
            kind: of task; it decides what a truth is.
            max_ids: answers that are remembered, the newest.
        """
        self.field = field_of(kind)
        self._max_ids = max_ids
        self._answers: OrderedDict[str, _Remembered] = OrderedDict()
        self._version: _Version | None = None
        self._counts: OrderedDict[str | None, _Counts] = OrderedDict()

    def remember(self, served: Served, said: Sequence[Prediction | str], *, owner: str | None) -> list[str | None]:
        """Return an id for each answer, None where there is none.

        Args:
            served: that gave them.
            said: of one request.
            owner: name of the token that asked; nobody else can say what was right.
        """
        version = self._of(served)
        request, ids = secrets.token_urlsafe(_ID_BYTES), list[str | None]()
        for place, prediction in enumerate(said):
            if isinstance(prediction, str):
                ids.append(None)
                continue
            ids.append(f"{request}.{place}")
            self._answers[f"{request}.{place}"] = _Remembered(version, owner, truth_of(prediction, self.field))
        while len(self._answers) > self._max_ids:
            self._answers.popitem(last=False)
        return ids

    def tell(self, id_: str, truth: Truth, *, owner: str | None) -> None:
        """Count what was right of an answer; its id is forgotten.

        Raises:
            Refused: 404 no such answer is remembered for this owner, 422 it could never have said so.
        """
        found = self._answers.get(id_)
        if found is None or found.owner != owner:
            raise Refused(
                404,
                f"no answer with this id is remembered: those of the newest {self._max_ids} answers are "
                "(serve.feedback_ids), for who asked, once",
                field="id",
            )
        named = {truth} if isinstance(truth, str) else set(truth) if isinstance(truth, tuple) else set()
        if unknown := sorted(named - found.version.labels):
            raise Refused(422, f"{self.field}: {unknown[0][:80]!r} is none of the labels in /model", field=self.field)
        del self._answers[id_]
        counts = self._counts.setdefault(found.version.number, _Counts(numbers=self.field == "number"))
        counts.add(found.said, truth)
        while len(self._counts) > MAX_VERSIONS:
            self._counts.popitem(last=False)

    def judged(self) -> tuple[Judged, ...]:
        """Return what it came to per version."""
        return tuple(counts.judged(version) for version, counts in self._counts.items())

    def resume(self, judged: Sequence[Judged]) -> None:
        """Go on with what another process has counted."""
        for one in judged[-MAX_VERSIONS:]:
            if (one.right is None) == (self.field == "number"):
                self._counts[one.version] = _Counts.of(one)

    def _of(self, served: Served) -> _Version:
        if self._version is None or self._version.number != served.source.version:
            self._version = _Version(served.source.version, frozenset(served.labels))
        return self._version


@dataclass
class _Counts:
    """Of one version: texts, those that were right, and of numbers the sums of errors and of their squares."""

    numbers: bool
    texts: int = 0
    right: int = 0
    errors: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, judged: Judged) -> "_Counts":
        return cls(judged.right is None, judged.texts, judged.right or 0, judged.errors, judged.squares)

    def add(self, said: Truth, truth: Truth) -> None:
        self.texts += 1
        if isinstance(said, float) and isinstance(truth, float):
            self.errors += abs(said - truth)
            self.squares += (said - truth) ** 2
        else:
            self.right += said == truth

    def judged(self, version: str | None) -> Judged:
        if not self.numbers:
            low, high = wilson(self.right, self.texts, level=LEVEL)
            value = self.right / self.texts
            return Judged(version=version, texts=self.texts, right=self.right, value=value, low=low, high=high)
        mean = self.errors / self.texts
        spread = math.sqrt(max(0.0, self.squares / self.texts - mean**2) / max(1, self.texts - 1))
        return Judged(
            version=version,
            texts=self.texts,
            errors=self.errors,
            squares=self.squares,
            value=mean,
            low=max(0.0, mean - 1.96 * spread),
            high=mean + 1.96 * spread,
        )

"""What is counted of a text and of its answer, and into which bins."""

import copy
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, final, get_args

import numpy as np
import numpy.typing as npt

from secateur.data.scripts import Script, script_of
from secateur.inference.encoding import Encoder
from secateur.inference.prediction import Prediction
from secateur.kinds.base import Kind
from secateur.readers.numbers import spelled

Value = str | float

MAX_BINS = 100
OTHERS = "(others)"
NO_LABEL = "(none)"
UNSEEN_EDGES = (1.0, 2.0, 3.0, 5.0, 9.0)
"""Of the number of a text's tokens that no training row has."""

_TEXTS_PER_CALL = 32


@final
class Measure:
    """Bins: of names one for each, of numbers those between edges."""

    def __init__(self, name: str, *, names: Sequence[str] = (), edges: Sequence[float] = ()) -> None:
        """Make one of either; of more than 99 names the rest share a bin."""
        self.name = name
        self.edges = tuple(edges)
        kept = tuple(names[: MAX_BINS - 1])
        self.bins = (*kept, OTHERS) if names else _between(self.edges)
        self._place = {bin_: index for index, bin_ in enumerate(kept)}
        self._last = len(self.bins) - 1

    def place(self, value: Value) -> int:
        """Return the bin of a value."""
        if isinstance(value, str):
            return self._place.get(value, self._last)
        return bisect_right(self.edges, value)

    def count(self, values: Iterable[Value]) -> list[int]:
        """Return how many values are in each bin."""
        counts = [0] * len(self.bins)
        for value in values:
            counts[self.place(value)] += 1
        return counts


def deciles(values: Sequence[float]) -> tuple[float, ...]:
    """Return the edges of ten bins with about as many values each; fewer where values are often the same."""
    found = np.unique(np.quantile(np.asarray(values, np.float64), np.linspace(0.1, 0.9, 9)))
    return tuple(float(edge) for edge in found)


def answer_values(said: Prediction, kind: Kind) -> dict[str, list[Value]]:
    """Return measure -> what one answer adds to it."""
    if kind.tells_numbers:
        return {"labels": [said.label]} if said.labels else {"numbers": [said.number]}
    return {"labels": list(said.labels) or [NO_LABEL], "confidence": [said.score]}


def answer_measures(kind: Kind, labels: Sequence[str], values: Mapping[str, Sequence[float]]) -> list[Measure]:
    """Return the measures of answers; ``values`` of numbers decide about edges, which are even where there are none."""
    if kind.tells_numbers and not labels:
        return [Measure("numbers", edges=deciles(values["numbers"]))] if values.get("numbers") else []
    names = [*labels, NO_LABEL] if kind.label_sets else labels
    found = [Measure("labels", names=names)]
    if not kind.tells_numbers:
        scores = values.get("confidence")
        found.append(Measure("confidence", edges=deciles(scores) if scores else _EVEN))
    return found


def text_measures(lengths: Sequence[float], *, tokens: bool) -> list[Measure]:
    """Return the measures of texts; those that are not there decide nothing."""
    edges = deciles(lengths) if lengths else tuple(float(2**power) for power in range(4, 13))
    found = [Measure("lengths", edges=edges), Measure("scripts", names=get_args(Script))]
    return [*found, Measure("tokens", edges=UNSEEN_EDGES)] if tokens else found


@final
class Texts:
    """Measures texts with a tokenizer of its own: one that two threads use at a time refuses one of them."""

    def __init__(self, encoder: Encoder, seen: npt.NDArray[np.bool_] | None) -> None:
        """Take a copy of an encoder.

        Args:
            encoder: of the model.
            seen: which tokens the training rows have, (V,); None = tokens are not looked at.
        """
        self._encoder = replace(encoder, tokenizer=copy.deepcopy(encoder.tokenizer))
        self._seen = seen

    def values(self, texts: Sequence[str]) -> dict[str, list[Value]]:
        """Return measure -> the value of each text."""
        cleaned = self._encoder.cleaned(texts)
        found: dict[str, list[Value]] = {
            "lengths": [float(len(text)) for text in cleaned],
            "scripts": [script_of([text]) for text in cleaned],
        }
        if self._seen is not None:
            found["tokens"] = [float(count) for count in unseen(self._encoder, texts, self._seen)]
        return found


def token_ids(encoder: Encoder, texts: Sequence[str]) -> Iterable[tuple[list[int], Any, Any]]:
    """Yield places, ids and mask of all texts as the model reads them."""
    for call in encoder.calls(texts, batch_size=_TEXTS_PER_CALL):
        yield call.places, call.ids, call.mask


def unseen(encoder: Encoder, texts: Sequence[str], seen: npt.NDArray[np.bool_]) -> list[int]:
    """Count the tokens of each text that are not among those seen."""
    counts = np.zeros(len(texts), np.int64)
    for places, ids, mask in token_ids(encoder, texts):
        np.add.at(counts, places, ((mask == 1) & ~seen[ids]).sum(axis=1))
    found: list[int] = counts.tolist()
    return found


_EVEN = tuple(step / 10 for step in range(1, 10))


def _between(edges: Sequence[float]) -> tuple[str, ...]:
    if not edges:
        return ("any",)
    written = [spelled(float(f"{edge:.4g}")) for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(written)]
    return (f"below {written[0]}", *inner, f"{written[-1]} or more")

"""How well a generator predicts texts it has never read: perplexity per token and per character.

Per character means ``exp(loss of all texts / characters of all texts)``, the end of a text counting as one character,
so models with different tokenizers, and a character n-gram model, stand on one scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from secateur.data.documents import Document
from secateur.evaluation.metrics import Interval
from secateur.inference.language_model import LanguageModel
from secateur.progress import PATIENCE_S, progress
from secateur.statistics.bootstrap import resampled_sums
from secateur.training.batches import IGNORED

_LOGITS_PER_CALL = 2**26
"""Rows * tokens * vocabulary of one forward pass, at most: 256 MB in fp32."""


@dataclass(frozen=True)
class DocumentLosses:
    """Losses of some texts.

    Attributes:
        losses: of every text, its end included, in nats, (texts,).
        tokens: that were predicted, (texts,).
        characters: and one per end, (texts,).
    """

    losses: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]

    @property
    def loss(self) -> float:
        """Nats per token."""
        return float(self.losses.sum() / self.tokens.sum())


@dataclass(frozen=True)
class _Window:
    """A piece of a document that fits into the context: token ids, and how many of the last ones are scored."""

    document: int
    ids: tuple[int, ...]
    num_scored: int


@torch.no_grad()
def document_losses(
    model: LanguageModel, documents: Sequence[Document], *, context: int, batch_size: int
) -> DocumentLosses:
    """Score whole documents; every token is predicted once.

    A document that is longer than the context is read in windows that start with what is given and overlap by half, so
    that every token but those of the first window sees at least half a context.

    Args:
        model: in any runtime; it says in which precision it scores.
        documents: at least one.
        context: tokens of a window, given ones included.
        batch_size: windows per forward pass, at most.
    """
    losses = np.zeros(len(documents))
    for batch in _shown(_batches(documents, context=context, batch_size=batch_size, vocabulary=model.vocab_size)):
        width = max(len(window.ids) for window in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.int64)
        labels = torch.full((len(batch), width), IGNORED, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for place, window in enumerate(batch):
            length = len(window.ids)
            row = torch.tensor(window.ids)
            ids[place, :length], mask[place, :length] = row, 1
            scored = slice(length - window.num_scored, length)
            labels[place, scored] = row[scored]
        logits = model.logits(ids, mask)
        found = cross_entropy(
            logits[:, :-1].flatten(0, 1),
            labels[:, 1:].flatten().to(logits.device),
            ignore_index=IGNORED,
            reduction="none",
        )
        sums = found.view(len(batch), -1).double().sum(dim=-1).tolist()
        for window, value in zip(batch, sums, strict=True):
            losses[window.document] += value
    return DocumentLosses(
        losses=losses,
        tokens=np.array([len(document.predicted) for document in documents]),
        characters=np.array([document.num_characters for document in documents]),
    )


def perplexities(found: DocumentLosses, *, samples: int, level: float, seed: int) -> dict[str, Interval]:
    """Return ``perplexity`` (per token) and ``char_perplexity`` with percentile intervals over resampled documents.

    Documents are drawn and not tokens, because the tokens of one text depend on each other (Efron and Tibshirani 1993,
    chapters 8 and 13).

    Args:
        found: losses of at least one document.
        samples: resamples.
        level: probability that an interval covers, such as 0.95.
        seed: of the resampling.
    """
    columns = np.stack([found.losses, found.tokens, found.characters], axis=1)
    sums = resampled_sums(columns, samples=samples, seed=seed)
    whole = columns.sum(axis=0)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    result = {}
    for place, name in ((1, "perplexity"), (2, "char_perplexity")):
        low, high = np.exp(np.quantile(sums[:, 0] / sums[:, place], tails))
        value = float(np.exp(whole[0] / whole[place]))
        result[name] = Interval(value=value, low=float(low), high=float(high))
    return result


def _shown(batches: Sequence[list[_Window]]) -> Iterator[list[_Window]]:
    """Yield the batches, with a bar where they take long."""
    with progress("perplexity", total=sum(map(len, batches)), after_s=PATIENCE_S) as advance:
        for batch in batches:
            yield batch
            advance(steps=len(batch))


def _batches(documents: Sequence[Document], *, context: int, batch_size: int, vocabulary: int) -> list[list[_Window]]:
    """Return windows of similar length, the longest first, so that memory runs out at once or never."""
    windows = [window for place, document in enumerate(documents) for window in _windows(place, document, context)]
    windows.sort(key=lambda window: -len(window.ids))
    batches, start = [], 0
    while start < len(windows):
        fitting = _LOGITS_PER_CALL // (len(windows[start].ids) * vocabulary)
        size = max(1, min(batch_size, fitting))
        batches.append(windows[start : start + size])
        start += size
    return batches


def _windows(place: int, document: Document, context: int) -> Iterator[_Window]:
    room = context - len(document.given)
    step = max(1, room // 2)
    body = document.predicted
    end = min(room, len(body))
    yield _Window(place, (*document.given, *body[:end]), num_scored=end)
    while end < len(body):
        before, end = end, min(end + step, len(body))
        yield _Window(place, (*document.given, *body[end - room : end]), num_scored=end - before)

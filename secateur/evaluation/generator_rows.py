"""What a generator makes of somebody's rows: texts that go on from theirs, and how well it predicts them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.data.documents import TextRow, documents_of
from secateur.data.text_rules import clean_texts
from secateur.errors import ModelError
from secateur.evaluation.metrics import FloatArray, Interval
from secateur.evaluation.perplexity import DocumentLosses, document_losses, perplexities
from secateur.evaluation.row_scores import Measured
from secateur.inference.answers import Answers
from secateur.inference.decoding import Sampling
from secateur.inference.writing import Asked, Writer

_BATCH_SIZE = 64


def texts_of_rows(
    model: Writer, texts: Sequence[str], *, numbers: Sequence[int], sampling: Sampling, label: str | None
) -> Answers:
    """Return the text that the model makes of every prompt, and whether it ended it; a row draws by its number.

    Raises:
        ModelError: the model cannot be asked for the label.
    """
    asked = [Asked(text, label, sampling.seed, number) for text, number in zip(texts, numbers, strict=True)]
    model.require_room(Asked("", label, sampling.seed, 0))
    fitting = [place for place, one in enumerate(asked) if _has_room(model, one)]
    written = model.write_for([asked[place] for place in fitting], sampling=sampling)
    by_place = dict(zip(fitting, written, strict=True))
    found = [by_place.get(place) for place in range(len(asked))]
    columns: dict[str, list[Any]] = {
        "text": [None if one is None else one.text for one in found],
        "finished": [None if one is None else one.finished for one in found],
    }
    reason = f"no room is left in the {model.context} tokens that the model reads"
    lost = len(asked) - len(fitting)
    return Answers(columns, unanswered={reason: lost} if lost else {})


def losses_of_rows(model: Writer, texts: Sequence[str], labels: Sequence[str | None]) -> Measured:
    """Return nats, tokens and characters of every text, (N, 3). None is cut, a long one is read on."""
    cleaned = clean_texts(texts, model.text_rules)[0] if model.text_rules else texts
    rows = [TextRow(row, text, label) for row, (text, label) in enumerate(zip(cleaned, labels, strict=True))]
    documents = documents_of(rows, model.tokenizer, controls=model.controls)
    found = document_losses(model.model, documents, context=model.context, batch_size=_BATCH_SIZE)
    return Measured(np.stack([found.losses, found.tokens, found.characters], axis=1))


def perplexities_of(values: FloatArray, *, samples: int, level: float, seed: int) -> dict[str, Interval]:
    """Return the perplexity per token and per character of rows that ``losses_of_rows`` has measured."""
    losses, tokens, characters = values.T
    found = DocumentLosses(losses, tokens.astype(np.int64), characters.astype(np.int64))
    return perplexities(found, samples=samples, level=level, seed=seed)


def _has_room(model: Writer, asked: Asked) -> bool:
    try:
        model.require_room(asked)
    except ModelError:
        return False
    return True

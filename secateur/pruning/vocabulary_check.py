"""How many tokens may go: the dense model is scored on validation rows with fewer and fewer words left."""

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedModel

from secateur.data.tokens import TokenRows
from secateur.models.vocabulary import covering, cut_vocabulary_
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.quality import Measure

_log = logging.getLogger(__name__)

MinCount = int | Literal["auto"]

_COUNTS = (5, 3, 2, 1)
"""What ``auto`` tries, the most tokens first that go; with 1 only those go that no training row has."""

_SHARE_OF_PROMISE = 0.5
"""What fewer words may take of a promise of quality: at 1.3 of it (half a point) no cut of structures kept the rest."""


@dataclass(frozen=True)
class VocabularyCut:
    """What a cut costs before any training makes up for it.

    Attributes:
        asked: as in the parameters.
        min_count: tokens that occur less often in the training rows go; 0 keeps all.
        tokens: that stay.
        dense_tokens: that there were.
        respelled: share of the tokens of the validation rows that went, and are spelled in pieces.
        unknown: share of them that became unknown.
        before: validation score of the dense model.
        after: with the tokens that stay.
    """

    asked: MinCount
    min_count: int
    tokens: int
    dense_tokens: int
    respelled: float
    unknown: float
    before: float
    after: float

    def summary(self) -> str:
        """Say in a line what went, and what that costs."""
        if self.min_count == 0:
            return f"all {self.dense_tokens} tokens stay: with fewer the dense model loses too much on validation rows"
        return (
            f"{self.tokens} of {self.dense_tokens} tokens stay (min_count {self.min_count}, asked {self.asked}); "
            f"of those in validation rows {100 * self.respelled:.2f} % are spelled in pieces and "
            f"{100 * self.unknown:.2f} % became unknown; dense on validation {self.before:.4f} -> {self.after:.4f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """Scores a dense model on validation rows, and says what is good enough.

    Attributes:
        model: the dense one, left as it is.
        train: dense ids of the training rows, which decide what is rare.
        validation: dense ids of the validation rows.
        max_length: longer rows are cut, tokens.
        before: score of the dense model.
        measure: what the score is.
        max_drop: what a cut may take from it, as in ``prune.vocabulary_max_drop``.
        score: of a model on rows of its own ids.
    """

    model: PreTrainedModel
    train: TokenRows
    validation: TokenRows
    max_length: int
    before: float
    measure: Measure
    max_drop: float
    score: Callable[[PreTrainedModel, TokenRows], float]


def allowed_drop(max_drop: float, *, promise: float | None) -> float:
    """Return what a cut of the vocabulary may take: ``prune.vocabulary_max_drop``, or half of a round's promise."""
    return max_drop if promise is None else min(max_drop, _SHARE_OF_PROMISE * promise)


def choose_cut(vocabulary: Vocabulary, judge: Judge, *, asked: MinCount) -> VocabularyCut | None:
    """Check the cut that is asked for; ``auto`` takes the largest that the dense model bears, or none. Deterministic.

    A number is taken whatever it costs: the floor of the round judges it. None when tokens are gone already, or none
    are to go.

    Args:
        vocabulary: of the model that is to be pruned.
        judge: scores the dense model.
        asked: ``prune.vocabulary_min_count``.
    """
    if asked == 0 or vocabulary.table is not None:
        return None
    floor = judge.measure.floor(judge.before, max_drop=judge.max_drop)
    for min_count in _COUNTS if asked == "auto" else (asked,):
        cut = _tried(vocabulary, judge, min_count=min_count, asked=asked)
        _log.info("vocabulary: %s", cut.summary())
        if asked != "auto" or judge.measure.holds(cut.after, floor=floor):
            return cut
    size = len(vocabulary.dense)
    return VocabularyCut(asked, 0, size, size, respelled=0.0, unknown=0.0, before=judge.before, after=judge.before)


def _tried(vocabulary: Vocabulary, judge: Judge, *, min_count: int, asked: MinCount) -> VocabularyCut:
    counts = np.bincount(judge.train.values, minlength=len(vocabulary.dense))
    model = copy.deepcopy(judge.model)
    kept = covering(counts, vocabulary.dense, min_count=min_count)
    narrow = shared_vocabulary(vocabulary.dense, cut_vocabulary_(model, vocabulary.dense, kept))
    rows = narrow.translate(judge.validation, max_length=judge.max_length)
    values = judge.validation.values
    gone = 0.0 if narrow.table is None else float(narrow.table.gone[values].mean())
    return VocabularyCut(
        asked=asked,
        min_count=min_count,
        tokens=len(kept),
        dense_tokens=len(vocabulary.dense),
        respelled=gone,
        unknown=max(0, _unknown(rows, narrow.tokenizer) - _unknown(judge.validation, narrow.dense)) / len(values),
        before=judge.before,
        after=judge.score(model, rows),
    )


def _unknown(rows: TokenRows, tokenizer: Any) -> int:
    return 0 if tokenizer.unk_token_id is None else int((rows.values == tokenizer.unk_token_id).sum())

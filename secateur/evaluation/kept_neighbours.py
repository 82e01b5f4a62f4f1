"""What an embedding model is worth on somebody's texts: the neighbours of its dense model that it keeps."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from secateur.errors import DataError
from secateur.evaluation.metrics import Interval
from secateur.inference.embedding import Embedder
from secateur.kinds.registry import kind_named
from secateur.readers.pairs import has_words
from secateur.readers.row_files import RowFile, texts_of
from secateur.statistics.bootstrap import resampled_sums
from secateur.statistics.neighbours import NeighboursKept, looked_at, neighbours_kept

_SAMPLES, _LEVEL, _SEED = 1000, 0.95, 0
_FEWEST = 21
"""With fewer, ten neighbours are half of all others or more."""


def score_texts(model: Embedder, dense: Embedder, rows: RowFile, *, text: str) -> dict[str, Any]:
    """Score an open model on a file of texts, against another one on the same.

    Args:
        model: that is scored.
        dense: whose neighbours count.
        rows: of the file.
        text: its column of texts.

    Returns:
        JSON values, as ``row_scores.score_file`` has them.

    Raises:
        DataError: there are too few texts.
    """
    found = [one for batch in rows.batches(1 << 13) for one in texts_of(batch, [text])]
    texts = [str(one) for one in found if has_words(one)]
    if len(texts) < _FEWEST:
        raise DataError(f"{rows.name}: {len(texts)} texts have too few neighbours to lose; {_FEWEST} would do")
    places = looked_at(len(texts))
    beside, texts = len(texts) - len(places), [texts[place] for place in places]
    said, before = model.embed(texts), dense.embed(texts)
    kept = neighbours_kept(torch.from_numpy(said.vectors), torch.from_numpy(before.vectors))
    kind = kind_named("embedding")
    empty = len(found) - len(texts) - beside
    left_out = {"no text": empty, f"a sample of {len(texts)} tells as much": beside}
    return {
        "kind": kind.name,
        "deciding": kind.measure.name,
        "rows": len(texts),
        "left_out": {reason: count for reason, count in left_out.items() if count},
        "cut": sum(said.cut),
        "learned": None,
        "scores": {name: asdict(interval) for name, interval in intervals_of(kept).items()},
        "slices": {},
        "confusion": None,
    }


def intervals_of(kept: NeighboursKept) -> dict[str, Interval]:
    """Return every score with its 95 % interval over queries that are drawn again; their neighbours stay."""
    columns, means = kept.columns(), kept.means()
    drawn = resampled_sums(columns, samples=_SAMPLES, seed=_SEED) / len(columns)
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    ends = zip(low.tolist(), high.tolist(), strict=True)
    return {name: Interval(value, *pair) for (name, value), pair in zip(means.items(), ends, strict=True)}

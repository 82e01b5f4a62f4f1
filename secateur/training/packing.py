"""Documents as a generator trains on them (packed into blocks) and is scored on them (one by one)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secateur.data.documents import Document
from secateur.data.tokens import TokenRows, from_lists

Ids = npt.NDArray[np.int32]


def packed(documents: Sequence[Document], *, max_length: int) -> TokenRows:
    """Pack documents end to end into blocks without padding; only the last block may be shorter.

    A block starts with the last token of the one before it, so that every token is predicted once. Where a text begins
    with the token that ends one, that token stands between two texts once.

    Args:
        documents: at least one.
        max_length: tokens of a block, 2 or more.
    """
    stream: list[int] = []
    for document in documents:
        given = document.given
        # "end begin" where both are the same token would say it twice.
        stream += given[1:] if stream and given[0] == stream[-1] else given
        stream += document.predicted
    blocks = _windows(np.asarray(stream, np.int32), max_length=max_length)
    return from_lists(blocks, labels=np.zeros(len(blocks), np.int64), given=_given(documents))


def one_by_one(documents: Sequence[Document], *, max_length: int, rows: Sequence[int]) -> TokenRows:
    """Return one row per document; a longer one goes on in further rows that know nothing of the ones before."""
    windows: list[Ids] = []
    origin: list[int] = []
    for index, document in enumerate(documents):
        found = _windows(np.asarray((*document.given, *document.predicted), np.int32), max_length=max_length)
        windows += found
        origin += [index] * len(found)
    return from_lists(
        windows,
        labels=np.zeros(len(windows), np.int64),
        rows=np.asarray(rows, np.int64)[origin],
        given=_given(documents),
    )


def _windows(ids: Ids, *, max_length: int) -> list[Ids]:
    """Cut into windows of which each starts with the last token of the one before."""
    step = max_length - 1
    return [ids[start : start + max_length] for start in range(0, max(len(ids) - 1, 1), step)]


def _given(documents: Sequence[Document]) -> tuple[int, ...]:
    """Return what begins documents and never continues one."""
    ends = {document.predicted[-1] for document in documents}
    return tuple(sorted({number for document in documents for number in document.given} - ends))

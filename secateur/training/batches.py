"""Batches whose rows are about equally long, so that little time goes into padding."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from secateur.data.tokens import TokenRows
from secateur.data.units import Units
from secateur.models.token_types import TYPES
from secateur.progress import PATIENCE_S, progress

IGNORED = -100
"""Label of a position whose next token is not to be predicted."""

_BATCHES_PER_POOL = 64
"""Rows are sorted by length within pools of so many batches: enough to save the padding, while the
composition of a batch still changes from epoch to epoch."""

_LENGTH_MULTIPLE = 4
"""Batches are padded to a multiple of so many tokens. oneDNN compiles a kernel for every shape and keeps 1 024 of
them; a pruned model has other widths in every layer, so lengths of all values would compile again and again."""


@dataclass(frozen=True)
class Batch:
    """Rows padded to a common length (B rows, W pieces that a model reads of them, T tokens).

    A row is one piece, and W = B, unless it is longer than the model reads and read in windows.

    Attributes:
        input_ids: (W, T) int64.
        attention_mask: 1 on tokens, 0 on padding, (W, T) int64.
        labels: the target of every row, (B,) or (B, values); of a classifier its index, int64. Of a generator: the
            token that follows every position, (B, T) int64, and ``IGNORED`` where none follows, or one that is given.
        index: position of each row in its ``TokenRows``, (B,) int64.
        kind: of the task that they are rows of.
        types: 1 on tokens of the second text of a pair, (B, T) int64; None where the model is not told.
        units: that numbers are learned in; None where a label is none.
        row_of: place of the row of every piece, (W,) int64, ascending; None where every row is one piece.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    kind: str
    types: Tensor | None = None
    units: Units | None = None
    row_of: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return what a model is called with."""
        typed = {} if self.types is None else {TYPES: self.types}
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, **typed}

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, index: int, *, of: int) -> "Batch":
        """Return every ``of``-th row from ``index`` on; the width stays."""
        if self.row_of is not None:
            return self._rows(torch.arange(index, len(self.index), of))
        return self._each(lambda tensor: tensor[index::of])

    def bounded(self) -> "list[Batch]":
        """Split a batch whose rows are read in windows so that memory is that of a batch of so many short rows.

        Returns:
            Whole rows, whose windows are together no more than this batch has rows, or are those of one row.
        """
        if self.row_of is None or len(self.row_of) == len(self.index):
            return [self]
        groups = filled(torch.bincount(self.row_of).tolist(), most=len(self.index))
        return [self._rows(torch.arange(group.start, group.stop)) for group in groups]

    def with_ids(self, input_ids: Tensor) -> "Batch":
        """Return the same rows with other token ids, (B, T) int64; the labels stay."""
        return replace(self, input_ids=input_ids)

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum over the pieces of every row, (B, K), of values of every piece, (W, K)."""
        if self.row_of is None:
            return values
        return values.new_zeros(len(self.index), values.shape[1]).index_add_(0, self.row_of, values)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = (self.input_ids, self.attention_mask, self.labels, self.index)
        ids, mask, labels, index = (change(tensor) for tensor in tensors)
        types, row_of = (None if tensor is None else change(tensor) for tensor in (self.types, self.row_of))
        return replace(self, input_ids=ids, attention_mask=mask, labels=labels, index=index, types=types, row_of=row_of)

    def _rows(self, chosen: Tensor) -> "Batch":
        """Return rows that are read in windows, at ascending places."""
        assert self.row_of is not None
        chosen = chosen.to(self.row_of.device)
        place = torch.full_like(self.index, -1)
        place[chosen] = torch.arange(len(chosen), device=chosen.device)
        row_of = place[self.row_of]
        kept = row_of >= 0
        return replace(
            self,
            input_ids=self.input_ids[kept],
            attention_mask=self.attention_mask[kept],
            labels=self.labels[chosen],
            index=self.index[chosen],
            row_of=row_of[kept],
        )


@dataclass(frozen=True)
class ReadyBatches:
    """Rows that come in batches already, which stay as they are: neither their order nor their padding changes.

    Attributes:
        batches: ``index`` counts the rows of all batches.
        given: as of ``TokenRows``: None for rows that have one label each.
    """

    batches: tuple[Batch, ...]
    given: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return sum(len(batch.index) for batch in self.batches)

    @property
    def kind(self) -> str:
        """Of the task that they are rows of."""
        return self.batches[0].kind

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every row, (rows,)."""
        return np.concatenate([batch.attention_mask.sum(dim=1).numpy() for batch in self.batches])

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max())


Rows = TokenRows | ReadyBatches
"""What a model is calibrated with, trained on and judged by."""


class EpochOrder:
    """A batch sampler: all rows once, batches of similar length, another order in every epoch."""

    def __init__(self, rows: TokenRows, *, batch_size: int, seed: int) -> None:
        self._lengths = rows.sizes
        self._generator = np.random.default_rng(seed)
        self.batch_size = batch_size
        self.drop_last = False

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in shuffled(self._lengths, batch_size=self.batch_size, generator=self._generator):
            yield batch.tolist()


class BatchOrder:
    """A batch sampler of ready batches: each by itself and once, in another order in every epoch."""

    def __init__(self, num_batches: int, *, seed: int) -> None:
        self._num_batches = num_batches
        self._generator = np.random.default_rng(seed)
        self.batch_size = 1
        self.drop_last = False

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for place in self._generator.permutation(self._num_batches):
            yield [int(place)]


def collate(rows: TokenRows, index: npt.NDArray[np.int64], *, pad_token_id: int) -> Batch:
    """Pad the rows at ``index`` to the longest of them, rounded up but never beyond the longest of all rows.

    Of rows in windows that is the longest window.
    """
    pieces, row_of = rows.pieces(index)
    lengths = np.array([len(piece) for piece in pieces])
    rounded = -(-int(lengths.max()) // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE
    # The longest row of all may be as long as the model's table of positions.
    width = min(rounded, rows.longest)
    input_ids = np.full((len(pieces), width), pad_token_id, dtype=np.int64)
    for position, piece in enumerate(pieces):
        input_ids[position, : lengths[position]] = piece
    mask = np.arange(input_ids.shape[1])[None, :] < lengths[:, None]
    labels = rows.labels[index] if rows.given is None else _followers(input_ids, lengths, rows.given)
    types = rows.types(np.asarray(index, dtype=np.int64), width=width)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        attention_mask=torch.from_numpy(mask.astype(np.int64)),
        labels=torch.from_numpy(labels),
        index=torch.from_numpy(np.asarray(index, dtype=np.int64)),
        kind=rows.kind,
        types=None if types is None else torch.from_numpy(types),
        units=rows.units,
        row_of=None if row_of is None else torch.from_numpy(row_of),
    )


def _followers(
    input_ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], given: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return the token after every position, (B, T)."""
    labels = np.full_like(input_ids, IGNORED)
    labels[:, :-1] = input_ids[:, 1:]
    labels[np.arange(input_ids.shape[1])[None, :] >= lengths[:, None] - 1] = IGNORED
    labels[np.isin(labels, given)] = IGNORED
    return labels


def shuffled(
    lengths: npt.NDArray[np.int64], *, batch_size: int, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Split all rows into batches of similar length, in random order; every row occurs exactly once."""
    order = generator.permutation(len(lengths))
    pool_size = batch_size * _BATCHES_PER_POOL
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(pool[first : first + batch_size] for first in range(0, len(pool), batch_size))
    return [batches[position] for position in generator.permutation(len(batches))]


def sorted_by_length(lengths: npt.NDArray[np.int64], *, batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Split all rows into batches from the shortest to the longest rows; the order is fixed."""
    order = np.argsort(lengths, kind="stable")
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def filled(counts: Sequence[int], *, most: int) -> list[range]:
    """Split places into runs whose counts add up to ``most`` or less, or that are one place, as long as they can be."""
    found, start, total = [], 0, 0
    for place, count in enumerate(counts):
        if place > start and total + count > most:
            found.append(range(start, place))
            start, total = place, 0
        total += count
    return [*found, range(start, len(counts))]


def batches_of(rows: Rows, *, batch_size: int, pad_token_id: int) -> Iterator[Batch]:
    """Yield all rows in a fixed order, for passes that change no weight; one that takes long shows a bar.

    A batch of rows in windows has as many windows as others have rows.
    """
    if isinstance(rows, ReadyBatches):
        yield from rows.batches
        return
    sizes = rows.sizes
    order = sorted_by_length(sizes, batch_size=batch_size if rows.windows is None else len(rows))
    if rows.windows is not None:
        (every,) = order
        order = [every[run.start : run.stop] for run in filled(rows.num_windows[every].tolist(), most=batch_size)]
    with progress("tokens", total=float(sizes.sum()), after_s=PATIENCE_S) as advance:
        for index in order:
            yield collate(rows, index, pad_token_id=pad_token_id)
            advance(steps=float(sizes[index].sum()))


def loader(rows: Rows, *, batch_size: int, seed: int, pad_token_id: int) -> DataLoader[Batch]:
    """Yield all rows in another order in every epoch, for training."""
    if isinstance(rows, ReadyBatches):
        one_by_one = BatchOrder(len(rows.batches), seed=seed)
        return DataLoader(rows.batches, batch_sampler=one_by_one, collate_fn=itemgetter(0))  # type: ignore[arg-type]
    order = EpochOrder(rows, batch_size=batch_size, seed=seed)

    def to_batch(index: list[int]) -> Batch:
        return collate(rows, np.asarray(index, dtype=np.int64), pad_token_id=pad_token_id)

    return DataLoader(range(len(rows)), batch_sampler=order, collate_fn=to_batch)  # type: ignore[arg-type]

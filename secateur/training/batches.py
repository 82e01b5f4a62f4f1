"""Batches whose rows are about equally long, so that little time goes into padding."""

import math
from collections.abc import Callable, Iterator
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
    """Rows padded to a common length (B rows, T tokens).

    Attributes:
        input_ids: (B, T) int64.
        attention_mask: 1 on tokens, 0 on padding, (B, T) int64.
        labels: the target of every row, (B,) or (B, values); of a classifier its index, int64. Of a generator: the
            token that follows every position, (B, T) int64, and ``IGNORED`` where none follows, or one that is given.
        index: position of each row in its ``TokenRows``, (B,) int64.
        kind: of the task that they are rows of.
        types: 1 on tokens of the second text of a pair, (B, T) int64; None where the model is not told.
        units: that numbers are learned in; None where a label is none.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    kind: str
    types: Tensor | None = None
    units: Units | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return what a model is called with."""
        typed = {} if self.types is None else {TYPES: self.types}
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, **typed}

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, index: int, *, of: int) -> "Batch":
        """Return every ``of``-th row from ``index`` on; the width stays."""
        return self._each(lambda tensor: tensor[index::of])

    def with_ids(self, input_ids: Tensor) -> "Batch":
        """Return the same rows with other token ids, (B, T) int64; the labels stay."""
        return replace(self, input_ids=input_ids)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = (self.input_ids, self.attention_mask, self.labels, self.index)
        ids, mask, labels, index = (change(tensor) for tensor in tensors)
        types = None if self.types is None else change(self.types)
        return Batch(ids, mask, labels=labels, index=index, kind=self.kind, types=types, units=self.units)


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


Rows = TokenRows | ReadyBatches
"""What a model is calibrated with, trained on and judged by."""


class EpochOrder:
    """A batch sampler: all rows once, batches of similar length, another order in every epoch."""

    def __init__(self, rows: TokenRows, *, batch_size: int, seed: int) -> None:
        self._lengths = rows.lengths
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
    """Pad the rows at ``index`` to the longest of them, rounded up but never beyond the longest of all rows."""
    all_lengths = rows.lengths
    lengths = all_lengths[index]
    rounded = -(-int(lengths.max()) // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE
    # The longest row of all may be as long as the model's table of positions.
    width = min(rounded, int(all_lengths.max()))
    input_ids = np.full((len(index), width), pad_token_id, dtype=np.int64)
    for position, row in enumerate(index):
        input_ids[position, : lengths[position]] = rows.ids(int(row))
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


def batches_of(rows: Rows, *, batch_size: int, pad_token_id: int) -> Iterator[Batch]:
    """Yield all rows in a fixed order, for passes that change no weight; one that takes long shows a bar."""
    if isinstance(rows, ReadyBatches):
        yield from rows.batches
        return
    with progress("tokens", total=float(rows.lengths.sum()), after_s=PATIENCE_S) as advance:
        for index in sorted_by_length(rows.lengths, batch_size=batch_size):
            yield collate(rows, index, pad_token_id=pad_token_id)
            advance(steps=float(rows.lengths[index].sum()))


def loader(rows: Rows, *, batch_size: int, seed: int, pad_token_id: int) -> DataLoader[Batch]:
    """Yield all rows in another order in every epoch, for training."""
    if isinstance(rows, ReadyBatches):
        one_by_one = BatchOrder(len(rows.batches), seed=seed)
        return DataLoader(rows.batches, batch_sampler=one_by_one, collate_fn=itemgetter(0))  # type: ignore[arg-type]
    order = EpochOrder(rows, batch_size=batch_size, seed=seed)

    def to_batch(index: list[int]) -> Batch:
        return collate(rows, np.asarray(index, dtype=np.int64), pad_token_id=pad_token_id)

    return DataLoader(range(len(rows)), batch_sampler=order, collate_fn=to_batch)  # type: ignore[arg-type]

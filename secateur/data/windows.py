"""Windows: a text that is longer than a model reads is read piece by piece, each piece as if it were a text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

MAX_WINDOWS = 8
"""Windows of a text that are read where nobody says how many."""

_OVERLAP = 4


@dataclass(frozen=True)
class Windows:
    """How the tokens of long texts are divided.

    A row is all tokens of a text between its special ones. One that is too long is read in windows that have those
    special tokens, too, and all the room between them filled. Neighbours share a quarter of it or more, so that no
    phrase of such a length is read in halves alone, and the last window ends where the text ends. Of a text that needs
    more than ``most`` they share less, and lie apart in the end, spread evenly from its beginning to its end.

    What a model says of a text is the mean of its logits over the windows: of numbers the mean number, of labels the
    geometric mean of their odds. A window that says nothing has equal logits, and leaves the answer to the others. The
    same mean is trained, so that the windows of a row share its gradient, and each counts one over their number. Sun et
    al. 2019 (How to Fine-Tune BERT for Text Classification, section 5.3.1: hierarchical methods, mean pooling) take the
    mean of what the encoder says of the pieces, and of that the head's answer: with a linear head the same. Their
    pieces do not overlap.

    Attributes:
        length: tokens of a window, special ones included.
        before: special tokens at its beginning.
        after: special tokens at its end.
        most: windows of a text, at most; 2 or more.
    """

    length: int
    before: int
    after: int
    most: int

    @property
    def room(self) -> int:
        """Tokens of a text in a window."""
        return self.length - self.before - self.after

    def counts(self, lengths: Integers) -> Integers:
        """Return in how many windows rows are read, (rows,).

        Args:
            lengths: tokens of every row, special ones included, (rows,).
        """
        step = self.room - self.room // _OVERLAP
        return np.clip(1 - (self.length - lengths) // step, 1, self.most)

    def unread(self, lengths: Integers) -> npt.NDArray[np.bool_]:
        """Tell of which rows something stands between two windows, (rows,); ``lengths`` as in ``counts``."""
        return lengths - self.before - self.after > self.most * self.room

    def starts(self, length: int) -> list[int]:
        """Return where the windows of a row begin among the tokens between its special ones.

        Args:
            length: tokens of the row, special ones included.
        """
        count, beyond = int(self.counts(np.array([length]))[0]), length - self.length
        return [beyond * place // (count - 1) for place in range(count)] if count > 1 else [0]

    def of(self, row: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the windows of a row: of one that fits itself, of another as many as ``counts`` says."""
        if len(row) <= self.length:
            return [row]
        first, last = row[: self.before], row[len(row) - self.after :]
        places = (self.before + start for start in self.starts(len(row)))
        return [np.concatenate([first, row[place : place + self.room], last]) for place in places]


def mean_of(values: npt.NDArray[Any], row_of: Integers | None) -> npt.NDArray[Any]:
    """Return what is said of rows: the mean over their windows.

    Args:
        values: of every window, (windows, C).
        row_of: place of the row of every window, (windows,), ascending from 0; None where every row is one.

    Returns:
        (rows, C), of the type of ``values``.
    """
    if row_of is None:
        return values
    parts = np.split(values, np.flatnonzero(np.diff(row_of)) + 1)
    return np.stack([part.mean(axis=0) for part in parts])


def remark_on_length(rows: int, max_length: int, *, cut: int, long: int, windows: int) -> list[str]:
    """Say how many of some texts are longer than a model reads, and what became of them; nothing where none is.

    Args:
        rows: texts.
        max_length: tokens that the model reads at once.
        cut: texts of which something is not read.
        long: texts that were read in windows.
        windows: of those.
    """
    share = f"of {rows} texts ({(long or cut) / max(1, rows):.1%})"
    if long:
        unread = f"; of {cut} of them something between two windows is not read" if cut else ""
        found = f"have more than the {max_length} tokens that the model reads at once"
        return [f"{long} {share} {found}, and were read in {windows / long:.1f} windows on average{unread}"]
    return [f"{cut} {share} were cut at the {max_length} tokens that the model reads"] if cut else []

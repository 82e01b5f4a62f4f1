"""Matrices that wait: in memory, or in a temporary file where all of them together are large."""

from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Shelf:
    """Keeps matrices in float64, and gives them back bit by bit as they were."""

    def __init__(self, *, on_disk: bool) -> None:
        """Begin an empty one.

        Args:
            on_disk: they wait in a file in the folder for temporary files (``TMPDIR``), gone with this process.
        """
        self._file = TemporaryFile() if on_disk else None  # noqa: SIM115 - closed when nobody asks for it any more
        self._kept: list[Tensor] = []
        self._shapes: list[tuple[int, ...]] = []
        self._starts = [0]

    def put(self, matrix: Tensor) -> int:
        """Keep a matrix of the CPU; return its number."""
        self._shapes.append(tuple(matrix.shape))
        if self._file is None:
            self._kept.append(matrix)
        else:
            self._file.seek(self._starts[-1])
            self._file.write(_bytes(matrix.contiguous().numpy()))
        self._starts.append(self._starts[-1] + 8 * matrix.numel())
        return len(self._shapes) - 1

    def take(self, number: int) -> Tensor:
        """Return a matrix; it stays on the shelf, so it must not be changed."""
        if self._file is None:
            return self._kept[number]
        values = np.empty(self._shapes[number], dtype=np.float64)
        self._file.seek(self._starts[number])
        self._file.readinto(_bytes(values))
        return torch.from_numpy(values)


def _bytes(values: npt.NDArray[np.float64]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data

"""A long column a piece at a time: what is made of a piece takes little memory, whatever the column is."""

from collections.abc import Iterator

import pyarrow as pa

ROWS_AT_ONCE = 20_000


def pieces(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yield the rows in their order, ``ROWS_AT_ONCE`` of them at the most; nothing is copied."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), ROWS_AT_ONCE):
            yield chunk.slice(start, ROWS_AT_ONCE)

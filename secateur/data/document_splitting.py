"""Texts of a source, taken apart into the documents that a generator learns from."""

import re
from typing import Literal

import pyarrow as pa

SplitAt = Literal["none", "lines", "documents"]

_BREAKS = {"lines": re.compile(r"\r\n|\r|\n"), "documents": re.compile(r"(?:\r\n|\r|\n)[^\S\r\n]*(?:\r\n|\r|\n)\s*")}


def split_documents(raw: pa.Table, *, at: SplitAt) -> pa.Table:
    """Return one row per document that is not blank; label, confidence and row number are those of the source's row.

    Args:
        raw: columns ``text``, ``label``, ``confidence``, ``row`` of ``tables.read_rows``.
        at: lines end at a line break, documents at a blank line; none leaves the rows as they are.
    """
    if at == "none":
        return raw
    pieces: list[str] = []
    origins: list[int] = []
    for index, text in enumerate(raw["text"].to_pylist()):
        found = [piece for piece in _BREAKS[at].split(text or "") if piece.strip()]
        pieces += found
        origins += [index] * len(found)
    taken = raw.take(pa.array(origins, pa.int64()))
    return taken.set_column(taken.schema.get_field_index("text"), "text", pa.array(pieces, pa.large_string()))

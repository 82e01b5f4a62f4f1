"""A table that was copied, as the rows of its parts: cleaned, with what is to be learned of each, and divided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.data.assembly import Copied, given_by
from secateur.data.cleaning import Cleaned, clean_rows
from secateur.data.document_splitting import split_documents
from secateur.data.parts import Parts, cleaned_given, given_part, num_processes, parted, targets_of
from secateur.data.rare_labels import without_rare
from secateur.data.row_texts import RowTexts, ShardedTexts, Sharding, written
from secateur.data.rules import row_rules_of
from secateur.data.stored_texts import Joined
from secateur.kinds.base import Kind
from secateur.readers.labels import Targets
from secateur.readers.reading import Reading


@dataclass(frozen=True)
class RowsInParts:
    """What a table has become.

    Attributes:
        raw: rows to learn from, before; without their texts where these were cleaned in shards.
        cleaned: rows to learn from, of which parts that were not given are a share.
        num_read: rows that came, those that judge among them.
        judging: rows that were given to judge, by their part.
        targets: what is to be learned of ``cleaned``.
        parts: train, validation and test.
        remarks: what a person should know of labels that are rare.
    """

    raw: pa.Table
    num_read: int
    cleaned: Cleaned
    judging: Mapping[str, Cleaned]
    targets: Targets
    parts: Parts
    remarks: tuple[str, ...]

    @property
    def texts(self) -> Sequence[str]:
        """Those that cleaning leaves, given ones too."""
        return Joined([rows.texts for rows in (self.cleaned, *self.judging.values())])

    @property
    def targets_by_part(self) -> dict[str, NDArray[Any]]:
        """What is to be learned of the rows of each part."""
        return {name: part.targets[part.rows] for name, part in self.parts.of.items()}


def rows_in_parts(
    copied: Copied,
    reading: Reading,
    clean: CleanSection,
    *,
    kind: Kind,
    seed: int,
    sharding: Sharding | None = None,
) -> RowsInParts:
    """Clean rows and split them.

    Args:
        copied: the rows.
        reading: how they were read.
        clean: the rules.
        kind: of task.
        seed: of the split.
        sharding: where shards of the rows to learn from are worked on; None holds their texts in memory.

    Raises:
        DataError: too few rows or labels are left, or a part would stay empty.
    """
    raw, rules = split_documents(copied.rows, at=clean.split), row_rules_of(clean, reading.columns)
    given = copied.given
    del copied  # of many rows, the texts are held no longer than it takes to write them
    texts: RowTexts | None = None
    if sharding is not None:
        names = written(raw["text"], sharding)
        raw = raw.drop_columns(["text"])
        pa.default_memory_pool().release_unused()
        texts = ShardedTexts(names, rules.text, rules.alike, sharding)
    judging = cleaned_given(given, clean, rules)
    cleaned = clean_rows(raw, rules, num_proc=num_processes(), apart_from=tuple(judging.values()), texts=texts)
    labelled, remarks = rules.labelled, tuple[str, ...]()
    if labelled and kind.min_labels:
        cleaned, judging, remarks = without_rare(cleaned, judging, reading.labels)
    rare = reading.labels.rare_labels
    targets = targets_of(cleaned, raw, labelled=labelled, kind=kind, num_parts=3 - len(judging), rare=rare)
    apart = {
        part: given_part(rows, targets, labelled=labelled, kind=kind, given_by=given_by(part, reading))
        for part, rows in judging.items()
    }
    parts = parted(cleaned, targets, given=apart, clean=clean, seed=seed)
    num_read = raw.num_rows + sum(rows.num_rows for rows in given.values())
    return RowsInParts(raw, num_read, cleaned, judging, targets, parts, remarks)

"""Rows that a project's models have learned from or were chosen by: a score on them says nothing about others."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from secateur.data.text_rules import TextRules, clean_texts

LEARNED = ("data/clean/train.parquet", "data/clean/validation.parquet")
"""Where a project keeps them."""


def learned_beside(model: Path, rules: TextRules | None) -> Callable[[Sequence[str]], int | None] | None:
    """Return what counts the texts that stand in the project of a model among the rows it has learned from.

    Args:
        model: a folder in the project.
        rules: that texts go through before the model reads them; None where it reads them as they are.

    Returns:
        None where the folder lies in no project with such rows; it counts None where they cannot be read.
    """
    root = next(
        (folder for folder in model.resolve().parents if all((folder / name).is_file() for name in LEARNED)), None
    )
    if root is None:
        return None

    def count(texts: Sequence[str]) -> int | None:
        try:
            known = pa.concat_tables([pq.read_table(root / name, columns=["text"]) for name in LEARNED])["text"]
        except (OSError, KeyError, pa.ArrowException):  # a remark is worth no error
            return None
        asked = pa.array(clean_texts(texts, rules)[0] if rules else texts, pa.string())
        return int(pc.sum(pc.is_in(asked, value_set=known.cast(pa.string()).combine_chunks())).as_py() or 0)

    return count

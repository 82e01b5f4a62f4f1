"""What the rounds learn from: token files and, where the kind keeps them, the dense model's logits, in one folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file
from torch import Tensor

from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.data.units import Units
from secateur.errors import DataError
from secateur.kinds.registry import kind_named

TRAIN, VALIDATION = "train.arrow", "validation.arrow"
_LOGITS = "dense_logits.safetensors"


@dataclass(frozen=True)
class PreparedRows:
    """Rows to train on and to validate on, and what the dense model says about the former, (rows, C).

    None where the kind does not keep it: the model says it again when asked.
    """

    train: TokenRows
    validation: TokenRows
    dense_logits: Tensor | None


def tokenize_rows(tables: Mapping[str, Path], out: Path, *, tokenizer: Any, max_length: int, kind: str) -> int:
    """Write the token files of rows with a target each; return how many training texts were cut."""
    shared: dict[str, Any] = {"tokenizer": tokenizer, "max_length": max_length, "kind": kind}
    if kind_named(kind).tells_numbers:
        numbers = pq.read_table(tables["train"], columns=["label"]).column("label")
        shared["units"] = Units.of(numbers.to_numpy().astype(np.float64))
    cut = tokenize(tables["train"], out=out / TRAIN, **shared)
    tokenize(tables["validation"], out=out / VALIDATION, **shared)
    return cut


def write_logits(folder: Path, logits: Tensor) -> None:
    """Keep the dense model's logits beside the token files: computed once, not once per round."""
    save_file({"logits": logits.contiguous()}, folder / _LOGITS)


def read_prepared_rows(folder: Path) -> PreparedRows:
    """Read what a baseline left.

    Raises:
        DataError: the logits belong to other rows.
    """
    train, validation = read_tokens(folder / TRAIN), read_tokens(folder / VALIDATION)
    if not kind_named(train.kind).keeps_logits:
        return PreparedRows(train=train, validation=validation, dense_logits=None)
    logits = load_file(folder / _LOGITS)["logits"]
    if len(logits) != len(train):
        raise DataError(
            f"{folder} holds {len(train)} training rows but logits of {len(logits)}; run the baseline again"
        )
    return PreparedRows(train=train, validation=validation, dense_logits=logits)

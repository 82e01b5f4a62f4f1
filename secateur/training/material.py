"""What the rounds learn from: token files, and the logits of a dense classifier, in one folder."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from secateur.data.tokens import TokenRows, read_tokens
from secateur.errors import DataError

TRAIN, VALIDATION = "train.arrow", "validation.arrow"
_LOGITS = "dense_logits.safetensors"


@dataclass(frozen=True)
class Material:
    """Rows to train on and to validate on, and what a dense classifier says about the former, (rows, C).

    What a generator says would be as large as rows, tokens and vocabulary together: it says it again when asked.
    """

    train: TokenRows
    validation: TokenRows
    dense_logits: Tensor | None


def write_logits(folder: Path, logits: Tensor) -> None:
    """Keep the dense model's logits beside the token files: computed once, not once per round."""
    save_file({"logits": logits.contiguous()}, folder / _LOGITS)


def read_material(folder: Path) -> Material:
    """Read what a baseline left.

    Raises:
        DataError: the logits belong to other rows.
    """
    train, validation = read_tokens(folder / TRAIN), read_tokens(folder / VALIDATION)
    if train.given is not None:
        return Material(train=train, validation=validation, dense_logits=None)
    logits = load_file(folder / _LOGITS)["logits"]
    if len(logits) != len(train):
        raise DataError(
            f"{folder} holds {len(train)} training rows but logits of {len(logits)}; run the baseline again"
        )
    return Material(train=train, validation=validation, dense_logits=logits)

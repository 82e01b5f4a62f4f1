"""What a generator has to predict of a text, as token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from secateur.errors import CheckpointError


@dataclass(frozen=True)
class Document:
    """One text.

    Attributes:
        given: what is not predicted: the begin token and, where the generator has them, the control token of its label.
        predicted: the tokens of the text, and the end.
        num_characters: of the text, and one for its end.
    """

    given: tuple[int, ...]
    predicted: tuple[int, ...]
    num_characters: int


@dataclass(frozen=True)
class TextRow:
    """One row of a table of clean texts: number in the source, text, and the name of its label if it has one."""

    row: int
    text: str
    label: str | None


def read_texts(table: Path, *, labels: Sequence[str]) -> list[TextRow]:
    """Read a table that ``clean`` wrote.

    Args:
        table: parquet with the columns text, label (an index) and row.
        labels: their names; none when the rows have no labels.
    """
    columns = pq.read_table(table, columns=["text", "label", "row"]).to_pydict()
    return [
        TextRow(row=row, text=text, label=labels[label] if labels else None)
        for text, label, row in zip(columns["text"], columns["label"], columns["row"], strict=True)
    ]


def given_ids(
    tokenizer: PreTrainedTokenizerBase, *, controls: Mapping[str, str], label: str | None = None
) -> tuple[int, ...]:
    """Return the tokens that every text starts with: begin (end where there is none), and the label's control token.

    Raises:
        CheckpointError: the tokenizer has no end token, or lacks the control token.
    """
    end = end_id(tokenizer)
    begin = end if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
    if not controls or label is None:
        return (begin,)
    control = tokenizer.convert_tokens_to_ids(controls[label])
    if not isinstance(control, int) or control == tokenizer.unk_token_id:
        raise CheckpointError(f"the tokenizer has no token {controls[label]} for the label {label}")
    return (begin, control)


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that ends a text.

    Raises:
        CheckpointError: there is none.
    """
    if tokenizer.eos_token_id is None:
        raise CheckpointError("the tokenizer has no end token (eos_token), so a text could not end")
    return int(tokenizer.eos_token_id)


def documents_of(
    rows: Sequence[TextRow], tokenizer: PreTrainedTokenizerBase, *, controls: Mapping[str, str]
) -> list[Document]:
    """Tokenise whole texts; nothing is cut."""
    # A text may be longer than the model's context, which is what ``verbose`` would warn of: it is read in windows.
    encoded = tokenizer(
        [row.text for row in rows], add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    ids = encoded["input_ids"]
    given = {label: given_ids(tokenizer, controls=controls, label=label) for label in {row.label for row in rows}}
    end = end_id(tokenizer)
    return [
        Document(given=given[row.label], predicted=(*tokens, end), num_characters=len(row.text) + 1)
        for row, tokens in zip(rows, ids, strict=True)
    ]

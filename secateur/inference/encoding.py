"""From texts to the arrays that a model reads: cleaned, cut, and in calls with texts of similar length."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from secateur.data.encoding import Encoded, encode, token_types
from secateur.data.text_rules import TextRules, clean_texts
from secateur.data.windows import Windows
from secateur.errors import CheckpointError, ModelError
from secateur.families import family_of
from secateur.models.card import Card
from secateur.models.checkpoint import load_tokenizer
from secateur.models.construction import read_config
from secateur.models.vocabulary import require_known_ids
from secateur.readers.pairs import as_text, num_texts, texts_in

_PADDED = 1.25
"""How many times as long as the shortest row of a call its longest may be."""


@dataclass(frozen=True)
class Call:
    """Texts that a model reads at once, or windows of such as are longer than it reads.

    Attributes:
        places: of the text of each among those that were given, (B,).
        windows: that this text is read in, (B,).
        ids: token ids, padded on the right, (B, T).
        mask: 1 = token, 0 = padding, (B, T).
        types: 1 = token of the second text of a pair, (B, T); None where the model is not told.
        cut: whether something of the text is not read, (B,).
    """

    places: list[int]
    windows: list[int]
    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    types: npt.NDArray[np.int64] | None
    cut: list[bool]


@dataclass(frozen=True)
class Said:
    """What a model says of some texts.

    Attributes:
        places: of each among those that were given, (B,).
        values: (B, K); of a text in windows the mean of what is said of them.
        cut: whether something of it is not read, (B,).
        windows: that it was read in, (B,).
    """

    places: list[int]
    values: npt.NDArray[Any]
    cut: list[bool]
    windows: list[int]


@final
@dataclass(frozen=True)
class Encoder:
    """The tokenizer of a model, and how its texts are prepared.

    Attributes:
        tokenizer: its own.
        text_rules: how its training texts were cleaned; None where nobody knows.
        max_length: tokens that it reads, at most.
        pad_token_id: what pads rows.
        vocab_size: tokens that it tells apart.
        num_texts: of a row that it reads; None where nobody knows.
    """

    tokenizer: PreTrainedTokenizerBase
    text_rules: TextRules | None
    max_length: int
    pad_token_id: int
    vocab_size: int
    num_texts: int | None = None

    @classmethod
    def of(cls, folder: Path, card: Card) -> Self:
        """Read that of a folder whose files fit its card.

        Raises:
            CheckpointError: the folder holds no tokenizer or no config, or one that fails at letters it does not know.
        """
        config, tokenizer = read_config(folder), load_tokenizer(folder)
        _require_any_letter(tokenizer, folder)
        limits = (card.max_length, tokenizer.model_max_length, family_of(config).max_tokens(config))
        for limit in limits:
            if limit is not None and not (isinstance(limit, int | float) and limit >= 1):
                raise CheckpointError(f"{folder} says that it reads {limit!r} tokens; 1 or more would work")
        return cls(
            tokenizer=tokenizer,
            text_rules=TextRules.of(card.text_rules),
            max_length=int(min(limit for limit in limits if limit is not None)),
            pad_token_id=_padding(tokenizer, config),
            vocab_size=int(config.vocab_size),
            num_texts=card.num_texts,
        )

    def cleaned(self, texts: Sequence[str]) -> list[str]:
        """Return texts as those of the training set were cleaned."""
        return clean_texts(texts, self.text_rules)[0] if self.text_rules else list(texts)

    def calls(self, texts: Sequence[str], *, batch_size: int) -> Iterator[Call]:
        """Yield all texts, the shortest first; of long ones what the tokenizer says is read of them.

        To a model of pairs a text alone is one whose second text is empty.

        Raises:
            ModelError: the tokenizer knows more tokens than the model, or the model reads one text and finds two.
            DataError: some are pairs and others are not.
        """
        if not texts:
            return
        if self.num_texts == 1 and num_texts(texts) != 1:
            raise ModelError("the model reads one text, and was given two")
        if self.num_texts == 2:
            texts = [text if len(texts_in(text)) > 1 else as_text([text, ""]) for text in texts]
        encoded = encode(self.tokenizer, self.cleaned(texts), max_length=self.max_length)
        pieces = [_pieces(row, encoded.windows) for row in encoded.ids]
        every = [(place, piece) for place, of_text in enumerate(pieces) for piece in of_text]
        for chosen in similar_lengths([max(1, len(piece)) for _, piece in every], batch_size=batch_size):
            places = [every[index][0] for index in chosen]
            counts = [len(pieces[place]) for place in places]
            yield self._call(encoded, places, [every[index][1] for index in chosen], windows=counts)

    def _call(
        self, encoded: Encoded, places: list[int], pieces: Sequence[Sequence[int]], *, windows: list[int]
    ) -> Call:
        # A text without any token is read as one that only pads: no mask of nothing makes sense to a model.
        rows = [piece or [self.pad_token_id] for piece in pieces]
        length = max(map(len, rows))
        ids = np.full((len(rows), length), self.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        types = None
        if encoded.second is not None:
            begins = np.array([encoded.second[place] for place in places])
            types = token_types(begins, mask.sum(axis=1), width=length)
        require_known_ids(int(ids.max()), vocab_size=self.vocab_size)
        cut = [encoded.cut[place] for place in places]
        return Call(places, windows, ids, mask, types=types, cut=cut)


def _require_any_letter(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Ask for letters that hardly anybody knows, before somebody's text does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    try:
        backend.encode("\u597d \u0416\U0001f642")
    except Exception as error:  # what the library raises has no type of its own
        said = " ".join(str(error).split())
        raise CheckpointError(f"the tokenizer of {folder} cannot read letters that it does not know: {said}") from error


def answered(calls: Iterable[Call], say: Callable[[Call], npt.NDArray[Any]]) -> Iterator[Said]:
    """Yield what a model says of texts, each once all of its windows are read.

    Args:
        calls: of ``Encoder.calls``: of a text's windows the first comes first.
        say: of every row of a call, (B, K).
    """
    waiting: dict[int, list[npt.NDArray[Any]]] = {}
    for call in calls:
        values = say(call)
        if max(call.windows) == 1:
            yield Said(call.places, values, call.cut, call.windows)
            continue
        found = Said([], values[:0], [], [])
        means = []
        for place, row, was_cut, count in zip(call.places, values, call.cut, call.windows, strict=True):
            held = waiting.setdefault(place, [])
            held.append(row)
            if len(held) == count:
                means.append(np.stack(waiting.pop(place)).mean(axis=0))
                found.places.append(place)
                found.cut.append(was_cut)
                found.windows.append(count)
        if means:
            yield replace(found, values=np.stack(means))


def _pieces(row: list[int], windows: Windows | None) -> list[list[int]]:
    if windows is None or len(row) <= windows.length:
        return [row]
    return [piece.tolist() for piece in windows.of(np.array(row))]


def similar_lengths(lengths: Sequence[int], *, batch_size: int) -> Iterator[list[int]]:
    """Group rows, shortest first; a group ends when it is full or the next row is longer by a quarter."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) == batch_size or lengths[index] > _PADDED * lengths[group[0]]):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _padding(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """Return what pads rows: the model reads the last token that is not the config's, where it names one."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    found = (config.pad_token_id, tokenizer.pad_token_id, *ends, 0)
    return int(next(token for token in found if token is not None))

"""The vocabulary shrinks to what a domain uses: embedding rows go, and the tokenizer's entries with them.

Text whose tokens all stay is tokenised as before, to the same logits. WordPiece matches the longest entry first, so
with fewer entries the match that stays is still the longest; BPE applies the merge of the lowest rank, so with all
merges behind a token kept, in their order, that token is built as before; Unigram takes the pieces whose scores add up
to most, and what was best of all is best of fewer. A word that the tokenizer did not know
(the unknown token) may find pieces now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from secateur.config.base import LongTexts
from secateur.data.encoding import head_and_tail, head_length
from secateur.data.tokens import TokenRows, from_lists
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.models.spelling import BestSpelling, WordSpelling, surface_pieces
from secateur.models.tokenizer_json import (
    Marks,
    describe,
    fallback_bytes,
    marks_of,
    merges_of,
    needed_by_scores,
    with_fewer_tokens,
)


def covering(
    counts: npt.NDArray[np.int64], tokenizer: PreTrainedTokenizerBase, *, min_count: int, min_count_character: int = 0
) -> npt.NDArray[np.int64]:
    """Choose the tokens that cover a domain.

    Special and added tokens stay; so do all pieces of one character (bytes of a byte-level alphabet), which every
    other word can be spelled with, the bytes that a byte fallback writes other characters with, and tokens that occur
    often enough; for BPE also what these are merged from, for Unigram what its scores rest on.

    Args:
        counts: occurrences of every id in the training rows, ``(V,)``.
        tokenizer: the tokenizer that made them.
        min_count: how often a token must occur.
        min_count_character: how often a character must occur, in whatever tokens; of a byte-level alphabet all
            stay. 0 keeps all: no word becomes unknown that was not.

    Returns:
        The ids that stay, ascending.

    Raises:
        ModelError: the tokenizer is no fast WordPiece, BPE or Unigram one.
    """
    values = describe(tokenizer)
    tokens = tokens_of(tokenizer, len(counts))
    always = {token["content"] for token in values["added_tokens"]} | set(tokenizer.all_special_tokens)
    always |= fallback_bytes(values) | needed_by_scores(values)
    known, marks = set(tokens), marks_of(values)
    is_bytes = values["model"]["type"] == "BPE"
    characters = _characters(counts, tokens, marks=marks)
    needed = 0 if is_bytes else min_count_character
    kept = {
        token
        for token, count in zip(tokens, counts.tolist(), strict=True)
        if token in always
        or count >= max(1, min_count)
        or (
            # A character that has no piece of its own can be spelled with nothing else.
            (len(marks.bare(token)) == 1 or (not is_bytes and not known.issuperset(marks.letters(token))))
            and all(characters.get(character, 0) >= needed for character in marks.bare(token))
        )
    }
    _close_under_merges_(kept, merges_of(values), marks=marks)
    return np.array([number for number, token in enumerate(tokens) if token in kept], dtype=np.int64)


def cut_vocabulary_(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kept: npt.NDArray[np.int64]
) -> PreTrainedTokenizerFast:
    """Keep the embedding rows of some tokens, and return the tokenizer that gives their new ids 0, 1, 2, ...

    The size and the ids of special tokens in the config follow. Optimisers built before the call hold the old
    parameters.

    Args:
        model: changed in place.
        tokenizer: the model's; left as it is.
        kept: ids that stay, ascending; see ``covering``.

    Raises:
        ModelError: ids are missing that every row needs, or the tokenizer cannot be cut.
    """
    tokens = tokens_of(tokenizer, int(model.config.vocab_size))
    if len(kept) == 0 or kept[0] < 0 or kept[-1] >= len(tokens) or bool((np.diff(kept) <= 0).any()):
        raise ModelError(f"ids that stay must be ascending and in 0 to {len(tokens) - 1}")
    needed = {token["content"] for token in describe(tokenizer)["added_tokens"]} | set(tokenizer.all_special_tokens)
    if missing := sorted(needed & set(tokens) - {tokens[number] for number in kept}):
        raise ModelError(f"the special token {missing[0]!r} must be kept ({len(missing)} missing)")
    cut = with_fewer_tokens(tokenizer, {tokens[old]: new for new, old in enumerate(kept.tolist())})
    family_of(model).replace_vocabulary_(model, kept.tolist())
    return cut


@dataclass(frozen=True)
class Remapping:
    """What the rows of an old vocabulary become under a smaller one.

    Attributes:
        pieces: for every old id, the new ids that take its place when it stands alone.
        gone: which old ids were dropped, ``(V,)`` booleans.
        words: WordPiece and Unigram: spells a whole word, from old ids to new ones; None of BPE.
    """

    pieces: tuple[tuple[int, ...], ...]
    gone: npt.NDArray[np.bool_]
    words: WordSpelling | BestSpelling | None

    def row(self, old: npt.NDArray[np.int32]) -> list[int]:
        """Return the new ids of a row."""
        groups = [[number] for number in old.tolist()] if self.words is None else self.words.split(old.tolist())
        new: list[int] = []
        for group in groups:
            if self.words is not None and len(group) > 1 and bool(self.gone[group].any()):
                new.extend(self.words.spell(tuple(group)))
            else:
                new.extend(piece for number in group for piece in self.pieces[number])
        return new


def remapping(tokenizer: PreTrainedTokenizerBase, cut: PreTrainedTokenizerBase, *, vocab_size: int) -> Remapping:
    """Return how rows of the old vocabulary are spelled in the new one.

    A token that stayed is itself. WordPiece: a word with a token that went is spelled anew as a whole, as the new
    tokenizer would; only words that were cut off at the end of a row or unknown differ from tokenising the text
    again. Unigram: likewise, but around an unknown character, which a row does not hold. BPE: such a token is merged as
    far as the merges that are left go, on its own, because rows do not say where words end.

    Args:
        tokenizer: before the cut.
        cut: after it.
        vocab_size: of the model before the cut.
    """
    tokens, values, new_ids = tokens_of(tokenizer, vocab_size), describe(cut), cut.get_vocab()
    pieces = surface_pieces(values, [token for token in tokens if token not in new_ids])
    kind = values["model"]["type"]
    words: WordSpelling | BestSpelling | None = None
    if kind == "WordPiece":
        words = WordSpelling(values["model"], tokens)
    elif kind == "Unigram":
        apart = {token["content"] for token in values["added_tokens"]} | set(tokenizer.all_special_tokens)
        words = BestSpelling(values, tokens, apart=apart)
    return Remapping(
        pieces=tuple((new_ids[token],) if token in new_ids else pieces[token] for token in tokens),
        gone=np.array([token not in new_ids for token in tokens]),
        words=words,
    )


def remap(
    rows: TokenRows, table: Remapping, *, max_length: int | None = None, long_texts: LongTexts = "head"
) -> TokenRows:
    """Return the rows in the new vocabulary; labels and row numbers stay.

    Args:
        rows: old ids.
        table: see ``remapping``.
        max_length: rows that grew beyond it lose what stands before their last token, of a pair the longer text
            first, as truncation does.
        long_texts: ``head_tail`` takes it out of their middle, where those that have ``max_length`` were cut before;
            pairs have no such middle. Rows that are read in windows are whole, and stay so.
    """
    new_rows: list[list[int]] = []
    second: list[int] | None = None if rows.second is None else []
    keeps_tail = long_texts == "head_tail" and rows.second is None  # as `encode` does
    if rows.windows is not None:
        max_length = None
    for index in range(len(rows)):
        old = rows.ids(index)
        # A word does not go on behind the gap.
        gap = [head_length(len(old))] if keeps_tail and len(old) == max_length else []
        parts = np.split(old, gap if rows.second is None else [rows.second[index]])
        found = [table.row(part) for part in parts]
        if max_length is not None and keeps_tail:
            found = [head_and_tail([number for part in found for number in part], max_length)]
        elif max_length is not None:
            _shorten_(found, max_length)
        new_rows.append([number for part in found for number in part])
        if second is not None:
            second.append(len(found[0]))
    given = None if rows.given is None else tuple(table.row(np.array(rows.given, np.int32)))
    new = from_lists(new_rows, labels=rows.labels, rows=rows.rows, given=given, kind=rows.kind, second=second)
    if given is None:
        return replace(new, units=rows.units, windows=rows.windows)
    return replace(new, spelling=rows.spelling * new.num_predicted / rows.num_predicted)


def _shorten_(parts: list[list[int]], max_length: int) -> None:
    """Take the tokens before the last one out of the longer part, one by one."""
    while sum(map(len, parts)) > max_length:
        longest = max(parts, key=len)
        del longest[-2]


def tokens_of(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> list[str]:
    """Return the token of every id; rows of the embeddings behind the last token have none, and are left out."""
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    size = min(vocab_size, max(by_id) + 1)
    if missing := [number for number in range(size) if number not in by_id]:
        raise ModelError(f"the tokenizer has no token for the id {missing[0]}; a vocabulary without gaps can be cut")
    return [by_id[number] for number in range(size)]


def require_known_ids(largest: int, *, vocab_size: int) -> None:
    """Refuse rows with tokens that the model has no embeddings for: they were added to the tokenizer alone.

    Raises:
        ModelError: naming what to do.
    """
    if largest >= vocab_size:
        raise ModelError(
            f"the tokenizer gives the id {largest}, and the model has embeddings for {vocab_size} tokens; after "
            "model.resize_token_embeddings(len(tokenizer)) and some training of those rows it would work"
        )


def _characters(counts: npt.NDArray[np.int64], tokens: Sequence[str], *, marks: Marks) -> dict[str, int]:
    found: dict[str, int] = {}
    for token, count in zip(tokens, counts.tolist(), strict=True):
        if count:
            for character in marks.bare(token):
                found[character] = found.get(character, 0) + count
    return found


def _close_under_merges_(kept: set[str], merges: Sequence[tuple[str, str]], *, marks: Marks) -> None:
    # Backwards, because a part is usually merged before what it is part of: one pass is enough then.
    size = -1
    while size != len(kept):
        size = len(kept)
        for left, right in reversed(merges):
            if marks.joined(left, right) in kept:
                kept.update((left, right))

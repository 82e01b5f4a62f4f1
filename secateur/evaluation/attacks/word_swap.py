"""Words swapped against a model by its own gradient (HotFlip, Ebrahimi et al. 2018, sections 3 and 6)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.errors import ModelError
from secateur.training.batches import Batch, batches_of
from secateur.training.objectives import pad_token_id, summed_loss

_CONTEXT = "the"
"""Stands before a word when it is looked up: tokenizers mark the first word of a text differently."""

_PLACEHOLDERS = ("user", "http")
_POSITIONS_AT_ONCE = 512
_NOTHING = -1


def whole_words(tokenizer: PreTrainedTokenizerBase, *, vocab_size: int) -> Tensor:
    """Tell which tokens are words of their own: letters only, and encoded as this very token, (V,) bool.

    Single ASCII letters and the placeholders of cleaning are no words here.
    """
    known = min(vocab_size, len(tokenizer))
    words = [word.strip() for word in tokenizer.batch_decode([[index] for index in range(known)])]
    candidates = [
        index
        for index, word in enumerate(words)
        if word.isalpha() and (len(word) > 1 or not word.isascii()) and word not in _PLACEHOLDERS
    ]
    whole = torch.zeros(vocab_size, dtype=torch.bool)
    if candidates:
        context = tokenizer(_CONTEXT, add_special_tokens=False)["input_ids"]
        texts = [f"{_CONTEXT} {words[index]}" for index in candidates]
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        same = [index for index, ids in zip(candidates, encoded, strict=True) if ids == [*context, index]]
        whole[same] = True
    return whole


def swappable_tokens(
    encoded: Any, *, whole: Tensor, cut: Callable[[Sequence[bool]], list[bool]] = list
) -> npt.NDArray[np.bool_]:
    """Tell which tokens of tokenised texts are whole words, all rows after each other, (tokens,) bool.

    Args:
        encoded: what a fast tokenizer returned for the texts.
        whole: of ``whole_words``.
        cut: what is read of a row.

    Raises:
        ModelError: the tokenizer does not say where words begin.
    """
    if not encoded.is_fast:
        raise ModelError("the attack gradient needs a fast tokenizer (tokenizer.json); leave it out of the attacks")
    flags: list[bool] = []
    for row, ids in enumerate(encoded["input_ids"]):
        words = encoded.word_ids(row)
        of_row: list[bool] = []
        for index, word in enumerate(words):
            alone = word is not None and word not in (words[index - 1 : index] + words[index + 1 : index + 2])
            of_row.append(alone and ids[index] < len(whole) and bool(whole[ids[index]]))
        flags += cut(of_row)
    return np.asarray(flags, dtype=np.bool_)


def swap_words(
    model: PreTrainedModel,
    rows: TokenRows,
    *,
    swappable: npt.NDArray[np.bool_],
    whole: Tensor,
    num_words: int,
    num_candidates: int,
    batch_size: int,
    precision: Precision,
) -> TokenRows:
    """Return the rows with up to ``num_words`` words each swapped for those that raise the model's loss most.

    The loss after a swap of token i for v is estimated to first order by ``loss + g_i (E_v - E_i)`` with the gradient
    g at the word embeddings E. The estimate of several swaps is the sum of theirs, so the best swaps of the best
    positions, as far as they are estimated to raise the loss, are the best of all under one gradient.

    Differs from the paper in: all swaps rest on one gradient instead of a beam that computes it again; the candidates
    are the nearest whole words by the cosine of the embeddings instead of those above a cosine and with the same part
    of speech. A swap may still change the meaning, so the score compares models and is no rate of failures in practice.

    Args:
        model: in evaluation mode; its weights and their gradients are left alone.
        rows: texts as token ids, with the true labels.
        swappable: of ``swappable_tokens``.
        whole: tokens that may be put in, of ``whole_words``.
        num_words: swaps per row, at most.
        num_candidates: neighbours that may replace a word.
        batch_size: rows per pass.
        precision: arithmetic of the matrix products.
    """
    table = _Neighbours(_word_embeddings(model), rows=rows, swappable=swappable, whole=whole, num=num_candidates)
    values = rows.values.copy()
    if not table:
        return rows
    for batch in batches_of(rows, batch_size=batch_size, pad_token_id=pad_token_id(model)):
        gradient = embedding_gradient(model, batch, precision=precision)
        ids, mask = batch.input_ids, batch.attention_mask
        if batch.row_of is not None:
            gradient, ids, mask = _of_whole_rows(gradient, batch, rows=rows)
        place = _places(batch, rows=rows, width=ids.shape[1])
        free = torch.from_numpy(swappable)[place] & (mask == 1)
        rise, token = _best_swaps(ids, free=free, gradient=gradient, table=table)
        best = rise.topk(min(num_words, rise.shape[1]), dim=-1).indices
        taken = (rise.gather(1, best) > 0).numpy()
        values[place.gather(1, best).numpy()[taken]] = token.gather(1, best).numpy()[taken]
    return replace(rows, values=values)


def _places(batch: Batch, *, rows: TokenRows, width: int) -> Tensor:
    """Return where each token of the rows of a batch stands among all tokens, (B, width); padding points anywhere."""
    starts = torch.from_numpy(rows.offsets)[batch.index]
    places = starts[:, None] + torch.arange(width)[None, :]
    return places.clamp(max=len(rows.values) - 1)


def _of_whole_rows(gradient: Tensor, batch: Batch, *, rows: TokenRows) -> tuple[Tensor, Tensor, Tensor]:
    """Put the windows of rows together: a swap changes a token in all of them that it stands in.

    Args:
        gradient: at the embeddings of every window, (W, T, E).
        batch: the windows.
        rows: all of them.

    Returns:
        Gradients (B, L, E), ids (B, L) and mask (B, L) of whole rows; where no window reads, the gradient is 0.
    """
    assert rows.windows is not None and batch.row_of is not None
    lengths = torch.from_numpy(rows.lengths)[batch.index]
    mask = (torch.arange(int(lengths.max()))[None, :] < lengths[:, None]).long()
    ids = torch.zeros_like(mask)
    ids[mask == 1] = torch.cat([torch.from_numpy(rows.ids(row).astype(np.int64)) for row in batch.index.tolist()])
    starts = torch.tensor([start for length in lengths.tolist() for start in rows.windows.starts(length)])
    columns = torch.arange(batch.input_ids.shape[1]).expand(batch.input_ids.shape)
    text = (columns >= rows.windows.before) & (columns < batch.attention_mask.sum(dim=1)[:, None] - rows.windows.after)
    summed = torch.zeros(*ids.shape, gradient.shape[-1])
    summed.index_put_(
        (batch.row_of[:, None].expand_as(columns)[text], (columns + starts[:, None])[text]),
        gradient[text],
        accumulate=True,
    )
    return summed, ids, mask


def _best_swaps(ids: Tensor, *, free: Tensor, gradient: Tensor, table: "_Neighbours") -> tuple[Tensor, Tensor]:
    """Return the estimated rise of the loss and the token of the best swap of every position, both (B, T).

    The rise is minus infinity where nothing may be swapped.
    """
    rise = torch.full(ids.shape, -torch.inf)
    token = torch.zeros_like(ids)
    positions = free.nonzero()
    for first in range(0, len(positions), _POSITIONS_AT_ONCE):
        row, column = positions[first : first + _POSITIONS_AT_ONCE].T
        rise[row, column], token[row, column] = table.best(ids[row, column], gradient[row, column])
    return rise, token


class _Neighbours:
    """The nearest whole words of every word that may be swapped."""

    def __init__(
        self, embeddings: Tensor, *, rows: TokenRows, swappable: npt.NDArray[np.bool_], whole: Tensor, num: int
    ) -> None:
        self.embeddings = embeddings.float()
        candidates = whole.nonzero().flatten()
        asked = torch.from_numpy(np.unique(rows.values[swappable]).astype(np.int64))
        unit = normalize(self.embeddings, dim=-1)
        similarity = unit[asked] @ unit[candidates].T
        similarity[asked[:, None] == candidates[None, :]] = -torch.inf  # no word replaces itself
        nearest = similarity.topk(max(0, min(num, len(candidates) - 1)), dim=-1).indices
        self._nearest = candidates[nearest]
        self._line = torch.full((len(embeddings),), _NOTHING)
        self._line[asked] = torch.arange(len(asked))

    def best(self, ids: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimated rise of the loss and the token of the best swap of each position, both (P,).

        Args:
            ids: the tokens, (P,).
            gradient: of the loss at their embeddings, (P, E).
        """
        nearest = self._nearest[self._line[ids]]
        change = torch.einsum("pke,pe->pk", self.embeddings[nearest] - self.embeddings[ids][:, None], gradient)
        rise, place = change.max(dim=-1)
        return rise, nearest.gather(1, place[:, None])[:, 0]

    def __bool__(self) -> bool:
        return self._nearest.numel() > 0


def embedding_gradient(model: PreTrainedModel, batch: Batch, *, precision: Precision) -> Tensor:
    """Return the gradient of every row's loss at its word embeddings, (B, T, E) fp32 on the CPU."""
    leaves: list[Tensor] = []

    def detach(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    handle = model.get_input_embeddings().register_forward_hook(detach)
    try:
        with torch.enable_grad():
            loss = summed_loss(model, batch.to(model.device), precision=precision)
        (gradient,) = torch.autograd.grad(loss, leaves)
    finally:
        handle.remove()
    return gradient.float().cpu()


def _word_embeddings(model: PreTrainedModel) -> Tensor:
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight.detach().cpu()

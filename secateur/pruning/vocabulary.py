"""The vocabulary of a round: the dense model's, or what an earlier or this round has left of it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.data.encoding import long_texts_of
from secateur.data.tokens import TokenRows
from secateur.models.vocabulary import Remapping, covering, cut_vocabulary_, remap, remapping, tokens_of


@dataclass(frozen=True)
class Vocabulary:
    """Two tokenizers that share their words.

    Attributes:
        dense: of the dense model; the token files hold its ids.
        tokenizer: of the pruned model.
        table: from dense ids to those of the pruned model; None when both are the same.
    """

    dense: PreTrainedTokenizerBase
    tokenizer: PreTrainedTokenizerBase
    table: Remapping | None

    @property
    def dense_ids(self) -> Tensor | None:
        """The dense id of every id of the pruned model, (V',) int64; None when both are the same."""
        if self.table is None:
            return None
        ids = self.dense.get_vocab()
        return torch.tensor([ids[token] for token in tokens_of(self.tokenizer, len(self.tokenizer))])

    def translate(self, rows: TokenRows, *, max_length: int) -> TokenRows:
        """Return rows of dense ids as the pruned model reads them."""
        if self.table is None:
            return rows
        return remap(rows, self.table, max_length=max_length, long_texts=long_texts_of(self.dense))

    def narrowed_(self, model: PreTrainedModel, rows: TokenRows, *, min_count: int) -> "Vocabulary":
        """Take rare tokens out of a model that still has all of them, in place; return the vocabulary it has then.

        Args:
            model: the pruned one.
            rows: dense ids of the training rows, which decide what is rare.
            min_count: tokens that occur less often go; 0 keeps all.
        """
        if min_count == 0 or self.table is not None:
            return self
        # Embeddings may have rows behind the last token; none of them is ever counted.
        counts = np.bincount(rows.values, minlength=len(self.dense))
        cut = cut_vocabulary_(model, self.dense, covering(counts, self.dense, min_count=min_count))
        return shared_vocabulary(self.dense, cut)


def shared_vocabulary(dense: PreTrainedTokenizerBase, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Compare the tokenizers of the dense and of a pruned model."""
    if dense.get_vocab() == tokenizer.get_vocab():
        return Vocabulary(dense=dense, tokenizer=tokenizer, table=None)
    table = remapping(dense, tokenizer, vocab_size=len(dense))
    return Vocabulary(dense=dense, tokenizer=tokenizer, table=table)

"""Scores on attacked texts, for attacks that know nothing of the model: cheap enough for every round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.run import Precision
from secateur.data.encoding import encode
from secateur.data.tokens import TokenRows, from_lists
from secateur.evaluation.attacks.characters import TEXT_ATTACKS, attack_text
from secateur.evaluation.metrics import accuracy, confusion, macro_f1
from secateur.training.objectives import logits_of

WORDS_PER_TEXT = 2
BATCH_SIZE = 64


@dataclass(frozen=True)
class AttackScore:
    """What a model is worth on attacked rows.

    Attributes:
        accuracy: share of rows with the true label.
        macro_f1: unweighted mean of the F1 of the labels.
        changed: share of rows whose tokens the attack changed; a tokenizer that lower-cases hides a change of case.
    """

    accuracy: float
    macro_f1: float
    changed: float


@dataclass(frozen=True)
class Attacked:
    """A model and the rows it is attacked on.

    Attributes:
        model: in evaluation mode.
        tokenizer: its own.
        rows: the clean texts as token ids, with labels.
        logits: of the clean rows, (rows, C).
        max_length: longer texts are cut, tokens.
        batch_size: rows per forward pass.
        precision: arithmetic of the matrix products.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    rows: TokenRows
    logits: Tensor
    max_length: int
    batch_size: int
    precision: Precision

    def score(self, rows: TokenRows) -> AttackScore:
        """Score the same rows with other tokens; those whose tokens are the same keep their logits."""
        differs = [not np.array_equal(rows.ids(index), self.rows.ids(index)) for index in range(len(rows))]
        changed = np.flatnonzero(differs)
        logits = self.logits.clone()
        if len(changed):
            logits[changed] = logits_of(
                self.model, rows.take(changed), batch_size=self.batch_size, precision=self.precision
            )
        counts = confusion(rows.labels, logits.argmax(dim=-1).numpy(), num_labels=logits.shape[-1])
        return AttackScore(
            accuracy=float(accuracy(counts)), macro_f1=float(macro_f1(counts)), changed=len(changed) / len(rows)
        )


def attacked(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    max_length: int,
    batch_size: int,
    precision: Precision,
) -> Attacked:
    """Tokenise the clean texts and run the model on them once."""
    rows = token_rows(tokenizer, texts, labels, max_length=max_length)
    return Attacked(
        model=model,
        tokenizer=tokenizer,
        rows=rows,
        logits=logits_of(model, rows, batch_size=batch_size, precision=precision),
        max_length=max_length,
        batch_size=batch_size,
        precision=precision,
    )


def token_rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Any, *, max_length: int) -> TokenRows:
    """Tokenise texts as the token files are."""
    encoded = encode(tokenizer, texts, max_length=max_length)
    return from_lists(encoded.ids, labels=labels, second=encoded.second, windows=encoded.windows)


def robust_score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    seed: int,
    *,
    max_length: int,
    precision: Precision,
    num_rows: int = 512,
) -> float:
    """Return the mean macro-F1 over all character and word attacks (no gradient), two words per text.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's own.
        texts: clean texts.
        labels: index of the label of every text.
        seed: of the sample and of the attacks; two models compare under the same seed.
        max_length: longer texts are cut, tokens.
        precision: arithmetic of the matrix products.
        num_rows: rows that are drawn; all of them when there are fewer.
    """
    chosen = sample_of(len(texts), num_rows=num_rows, seed=seed)
    sampled = [texts[index] for index in chosen]
    victim = attacked(
        model,
        tokenizer,
        sampled,
        [labels[index] for index in chosen],
        max_length=max_length,
        batch_size=BATCH_SIZE,
        precision=precision,
    )
    scores = []
    for attack in TEXT_ATTACKS:
        changed = [attack_text(text, attack=attack, num_words=WORDS_PER_TEXT, seed=seed) for text in sampled]
        rows = token_rows(tokenizer, changed, victim.rows.labels, max_length=max_length)
        scores.append(victim.score(rows).macro_f1)
    return float(np.mean(scores))


def sample_of(total: int, *, num_rows: int, seed: int) -> list[int]:
    """Draw row numbers without replacement, in order; all of them when there are fewer."""
    if num_rows >= total:
        return list(range(total))
    chosen = np.random.default_rng(seed).choice(total, size=num_rows, replace=False)
    return [int(index) for index in np.sort(chosen)]

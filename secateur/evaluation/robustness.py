"""What is left of a model's quality under attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.config.evaluate import Attack, RobustnessSection
from secateur.config.run import Precision
from secateur.data.encoding import encoded_parts, head_and_tail, long_texts_of
from secateur.data.tokens import TokenRows
from secateur.evaluation.attacks.characters import attack_text
from secateur.evaluation.attacks.word_swap import swap_words, swappable_tokens, whole_words
from secateur.evaluation.robust_score import Attacked, AttackScore, attacked, sample_of, token_rows
from secateur.readers.pairs import num_texts


@dataclass(frozen=True)
class Robustness:
    """Scores on one sample of rows, clean and under every attack.

    Attributes:
        clean: on the rows as they are.
        attacks: by name, in the order they were asked for.
    """

    clean: AttackScore
    attacks: Mapping[Attack, AttackScore]

    @property
    def robust_macro_f1(self) -> float:
        """The mean over the attacks."""
        return float(np.mean([score.macro_f1 for score in self.attacks.values()]))

    @property
    def robust_drop(self) -> float:
        """What the attacks take from the clean score."""
        return self.clean.macro_f1 - self.robust_macro_f1


def robustness(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    settings: RobustnessSection,
    max_length: int,
    batch_size: int,
    precision: Precision,
    seed: int,
) -> Robustness:
    """Attack a model on a sample of texts.

    The character and word attacks give every model the same texts; ``gradient`` attacks each with its own gradient.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's own.
        texts: clean texts.
        labels: index of the label of every text.
        settings: how many rows, which attacks, how strong.
        max_length: longer texts are cut, tokens.
        batch_size: rows per pass.
        precision: arithmetic of the matrix products.
        seed: of the sample and of the attacks.

    Raises:
        ModelError: the attack ``gradient`` is asked for and the tokenizer does not say where words begin.
    """
    chosen = sample_of(len(texts), num_rows=settings.rows, seed=seed)
    sampled = [texts[index] for index in chosen]
    victim = attacked(
        model,
        tokenizer,
        sampled,
        [int(labels[index]) for index in chosen],
        max_length=max_length,
        batch_size=batch_size,
        precision=precision,
    )
    scores: dict[Attack, AttackScore] = {
        attack: victim.score(_attacked_rows(victim, sampled, attack=attack, settings=settings, seed=seed))
        for attack in settings.attacks
    }
    return Robustness(clean=victim.score(victim.rows), attacks=scores)


def _attacked_rows(
    victim: Attacked, texts: Sequence[str], *, attack: Attack, settings: RobustnessSection, seed: int
) -> TokenRows:
    if attack != "gradient":
        changed = [attack_text(text, attack=attack, num_words=settings.words_per_text, seed=seed) for text in texts]
        return token_rows(victim.tokenizer, changed, victim.rows.labels, max_length=victim.max_length)
    whole = whole_words(victim.tokenizer, vocab_size=victim.model.config.vocab_size)
    read = long_texts_of(victim.tokenizer) if num_texts(texts) == 1 else "head"
    cut = partial(head_and_tail, max_length=victim.max_length) if read == "head_tail" else list
    parts = encoded_parts(victim.tokenizer, texts, max_length=victim.max_length if read == "head" else None)
    return swap_words(
        victim.model,
        victim.rows,
        swappable=np.concatenate([swappable_tokens(encoded, whole=whole, cut=cut) for encoded in parts]),
        whole=whole,
        num_words=settings.words_per_text,
        num_candidates=settings.num_candidates,
        batch_size=victim.batch_size,
        precision=victim.precision,
    )

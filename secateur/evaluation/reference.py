"""What somebody would use who has no network: scored on the same rows, so that a model has to earn its place."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import PreTrainedTokenizerBase

from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.metrics import bootstrap, confusion
from secateur.evaluation.ngram import NgramModel
from secateur.evaluation.perplexity import DocumentLosses, perplexities

CLASSIFIER = "logistic regression on TF-IDF of 1 to 4 characters"
GENERATOR = "character 5-gram model, interpolated Kneser-Ney"

_NGRAM = (1, 4)
_MIN_ROWS = 2  # an n-gram of one row alone says nothing about another
_INVERSE_STRENGTH = 5.0


def score_classifier(
    training: Sequence[str],
    labels: Sequence[int],
    *,
    texts: Sequence[str],
    expected: npt.NDArray[np.int64],
    num_labels: int,
    settings: EvaluateSection,
    seed: int,
) -> dict[str, float]:
    """Fit logistic regression to character n-grams of the training rows; return its scores on the test rows.

    Characters and not words: a script without spaces is served alike.
    """
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=_NGRAM, min_df=_MIN_ROWS, sublinear_tf=True, dtype=np.float32),
        LogisticRegression(C=_INVERSE_STRENGTH, max_iter=200),
    )
    model.fit(training, labels)
    counts = confusion(expected, model.predict(texts), num_labels=num_labels)
    found = bootstrap(counts, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
    entry: dict[str, float] = {}
    for name, interval in found.items():
        entry |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return entry


def score_ngrams(
    training: Sequence[str],
    *,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: EvaluateSection,
    seed: int,
) -> dict[str, float]:
    """Count character 5-grams of the training texts; return the perplexity per character on the test texts.

    Characters that the tokenizer does not know are unknown to the n-grams too: both have the same to predict.
    ``unknown_characters`` is their share of the test texts, with those that no training text has.
    """
    model = NgramModel.fit(training, unknown=unknown_characters([*training, *texts], tokenizer))
    characters = np.array([len(text) + 1 for text in texts])
    losses = DocumentLosses(model.losses(texts), tokens=characters, characters=characters)
    found = perplexities(losses, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
    interval = found["char_perplexity"]
    return {
        "char_perplexity": interval.value,
        "char_perplexity_low": interval.low,
        "char_perplexity_high": interval.high,
        "unknown_characters": model.unknown_share(texts),
    }


def unknown_characters(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Return the characters of some texts that a tokenizer cannot write."""
    if tokenizer.unk_token_id is None:
        return frozenset()
    characters = sorted(set().union(*texts))
    ids = tokenizer(characters, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return frozenset(
        character for character, found in zip(characters, ids, strict=True) if tokenizer.unk_token_id in found
    )

"""What somebody would use who has no network: scored on the same rows, so that a model has to earn its place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.ngram import NgramModel
from secateur.evaluation.perplexity import DocumentLosses, perplexities
from secateur.evaluation.said import scores_of_rows
from secateur.evaluation.tf_idf import fit

GENERATOR = "character 5-gram model, interpolated Kneser-Ney"


@dataclass(frozen=True)
class LabelledRows:
    """Texts and the indices of their labels, (rows,); or 0 and 1 for every label, (rows, C)."""

    texts: Sequence[str]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SimpleClassifier:
    """What the simple classifier came to on the test rows.

    Attributes:
        name: what it is, with the settings that validation rows chose.
        metrics: macro-F1 and accuracy with their intervals, and ``validation_macro_f1``.
        predicted: what is said of every test row, as its labels.
    """

    name: str
    metrics: dict[str, float]
    predicted: npt.NDArray[np.int64]


def score_classifier(
    training: LabelledRows,
    validation: LabelledRows,
    test: LabelledRows,
    *,
    num_labels: int,
    settings: EvaluateSection,
    seed: int,
) -> SimpleClassifier:
    """Fit TF-IDF with logistic regression to the training rows as validation rows choose; score it on the test rows."""
    model = fit(
        training.texts,
        training.labels,
        validation=validation.texts,
        validation_labels=validation.labels,
        num_labels=num_labels,
    )
    predicted = model.predict(test.texts)
    found = scores_of_rows(
        test.labels,
        predicted,
        num_labels=num_labels,
        samples=settings.bootstrap_samples,
        level=settings.confidence_level,
        seed=seed,
    )
    metrics = {"validation_macro_f1": model.settings.validation_macro_f1}
    for name, interval in found.items():
        metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return SimpleClassifier(model.settings.describe(), metrics, predicted)


def score_ngrams(
    training: Sequence[str],
    *,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: EvaluateSection,
    seed: int,
) -> tuple[dict[str, float], DocumentLosses]:
    """Count character 5-grams of the training texts; return the perplexity per character on the test texts, and losses.

    Characters that the tokenizer does not know are unknown to the n-grams too: both have the same to predict.
    ``unknown_characters`` is their share of the test texts, with those that no training text has.
    """
    model = NgramModel.fit(training, unknown=unknown_characters([*training, *texts], tokenizer))
    characters = np.array([len(text) + 1 for text in texts])
    losses = DocumentLosses(model.losses(texts), tokens=characters, characters=characters)
    found = perplexities(losses, samples=settings.bootstrap_samples, level=settings.confidence_level, seed=seed)
    interval = found["char_perplexity"]
    metrics = {
        "char_perplexity": interval.value,
        "char_perplexity_low": interval.low,
        "char_perplexity_high": interval.high,
        "unknown_characters": model.unknown_share(texts),
    }
    return metrics, losses


def unknown_characters(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Return the characters of some texts that a tokenizer cannot write."""
    if tokenizer.unk_token_id is None:
        return frozenset()
    characters = sorted(set().union(*texts))
    ids = tokenizer(characters, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return frozenset(
        character for character, found in zip(characters, ids, strict=True) if tokenizer.unk_token_id in found
    )

"""Parts of the test set that a person can name, and what a model is worth on each.

Every rule looks at characters only, so the slices mean the same in every language and need no model. A text may be in
several slices. The lengths are thirds of the given texts: the same test data give the same slices, whatever the model.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secateur.evaluation.metrics import accuracy, confusion, macro_f1
from secateur.readers.pairs import each
from secateur.statistics.f1 import f1_by_label, right_rows

Mask = npt.NDArray[np.bool_]

# Cleaning leaves "http" for a link and "@user" for a handle; where that is switched off, the originals stand there.
_LINK = re.compile(r"\bhttp(?:s?://\S+|\b)|\bwww\.\S", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![A-Za-z0-9_.@])@\w")
_EMOJI = re.compile("[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]")
_STRETCHED = re.compile(r"([^\W\d_])\1\1", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")

_RULES = {
    "link": "with a link",
    "handle": "with a handle (@name)",
    "hashtag": "with a hashtag",
    "digits": "with a digit",
    "emoji": "with an emoji",
    "non_ascii": "with a letter outside ASCII",
    "capitals": "with a word of three or more letters in capitals",
    "stretched": "with a letter three times in a row",
    "exclamation": "with an exclamation mark",
    "question": "with a question mark",
}


@dataclass(frozen=True)
class SliceScore:
    """One model on one slice.

    Attributes:
        rows: texts in the slice, at least one.
        accuracy: share of them that got the right label, or all of several and no other.
        macro_f1: mean F1 over the labels that occur in the slice, so that two models on the same slice are averaged
            over the same labels.
    """

    rows: int
    accuracy: float
    macro_f1: float


def slices_of(texts: Sequence[str]) -> dict[str, Mask]:
    """Return which texts belong to which slice: name -> booleans, (texts,), always the same names in this order.

    ``short``, ``middle`` and ``long`` are thirds by characters and cover all texts; equal lengths stay together. The
    others are described by ``descriptions_of``. A slice may be empty.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    first, second = _bounds(lengths)
    masks = {"short": lengths <= first, "middle": (lengths > first) & (lengths <= second), "long": lengths > second}
    found = [_traits(text) for text in texts]
    return masks | {name: np.array([name in traits for traits in found], np.bool_) for name in _RULES}


def descriptions_of(texts: Sequence[str]) -> dict[str, str]:
    """Say in words what each slice of these texts holds; the names and their order are those of ``slices_of``."""
    first, second = _bounds(np.array([len(text) for text in texts], np.int64))
    return {
        "short": f"up to {first} characters",
        "middle": f"{first + 1} to {second} characters",
        "long": f"more than {second} characters",
        **_RULES,
    }


def slice_scores(
    masks: Mapping[str, Mask],
    *,
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    num_labels: int,
    min_rows: int = 1,
) -> dict[str, SliceScore]:
    """Score one model on every slice that holds at least ``min_rows`` texts.

    Args:
        masks: from ``slices_of``.
        labels: index of the true label of every text, (texts,); or 0 and 1 for every label, (texts, C).
        predicted: the same of what is predicted.
        num_labels: number of labels.
        min_rows: at least 1; a score of few rows says little.
    """
    scores = {}
    for name, mask in masks.items():
        rows = int(mask.sum())
        if rows < max(min_rows, 1):
            continue
        score = _set_score if labels.ndim == 2 else _label_score
        scores[name] = score(labels[mask], predicted[mask], num_labels=num_labels)
    return scores


def _label_score(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], *, num_labels: int) -> SliceScore:
    counts = confusion(labels, predicted, num_labels=num_labels)
    mean = float(macro_f1(counts, among=counts.sum(axis=1) > 0))
    return SliceScore(rows=len(labels), accuracy=float(accuracy(counts)), macro_f1=mean)


def _set_score(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], *, num_labels: int) -> SliceScore:
    """Score rows of several labels; where none of them has any, there is no F1 but 0."""
    occurs = labels.sum(axis=0) > 0
    f1 = f1_by_label(labels, predicted, num_labels=num_labels)[1][occurs]
    right = float(right_rows(labels, predicted).mean())
    return SliceScore(rows=len(labels), accuracy=right, macro_f1=float(f1.mean()) if len(f1) else 0.0)


def _bounds(lengths: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the longest length of the first and of the second third."""
    if not len(lengths):
        return 0, 0
    first, second = np.quantile(lengths, [1 / 3, 2 / 3], method="lower")
    return int(first), int(second)


def _traits(text: str) -> set[str]:
    """Return the slices, lengths aside, that a text belongs to."""
    own = each(text, lambda one: _LINK.sub(" ", one))  # a link's letters, digits and marks are nobody's words
    tests = {
        "link": own != text,
        "handle": _HANDLE.search(own) is not None,
        "hashtag": re.search(r"[#\uff03]\w", own) is not None,
        "digits": re.search(r"\d", own) is not None,
        "emoji": _EMOJI.search(own) is not None,
        "non_ascii": not own.isascii() and any(letter.isalpha() and not letter.isascii() for letter in own),
        "capitals": any(word.isupper() for word in _WORD.findall(own)),
        "stretched": _STRETCHED.search(own) is not None,
        "exclamation": re.search("[!\uff01\u00a1]", own) is not None,
        "question": re.search("[?\uff1f\u00bf\u061f]", own) is not None,
    }
    return {name for name, holds in tests.items() if holds}

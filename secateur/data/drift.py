"""How far new rows are from those that the champion learned from. It informs; ``quality`` decides.

Own code on numpy, scipy and scikit-learn, which are there anyway: a monitoring library would bring dozens of
packages for these five numbers.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, ks_2samp, mannwhitneyu

from secateur.data.profile import LabelledTexts
from secateur.readers.label_sets import counted
from secateur.readers.numbers import numbers_of

FloatArray = npt.NDArray[np.float64]

LARGE_PSI = 0.25
"""Population stability index from which a shift counts as large (Siddiqi 2006, Credit Risk Scorecards, chapter 8)."""

SIGNIFICANT = 0.01
"""p-value below which a difference is not taken for chance."""

NOTABLE_AUC = 0.6
"""How well a linear classifier must tell the two sides apart: large samples make tiny differences significant."""

LARGE_KS = 0.1
"""The same for lengths: the largest distance of the two distribution functions."""

LARGE_NEW_TOKENS = 0.1
"""Share of tokens that the champion's data never had."""

_MIN_EMBEDDED = 20
# Scripts without spaces are split into characters.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W_]+")
# Every number would be a new word.
_NUMBER = re.compile(r"\d+")


def compare(reference: LabelledTexts, current: LabelledTexts) -> dict[str, Any]:
    """Compare usable rows: label shares (None for a corpus without labels), lengths in characters, and vocabulary.

    Returns:
        JSON values; each part has ``drifted``, and the numbers behind it.
    """
    return {
        "rows": {"reference": len(reference.texts), "current": len(current.texts)},
        "labels": _labels(_counts(reference.labels), _counts(current.labels))
        if (reference.labelled or current.labelled) and not current.numbered
        else None,
        **({"numbers": _numbers(reference, current)} if current.numbered else {}),
        "lengths": _lengths(_characters(reference), _characters(current)),
        "vocabulary": _vocabulary(_tokens(reference), _tokens(current)),
    }


def population_stability(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Return sum((q - p) * ln(q / p)) over the bins of two counts, with half a row added to each bin."""
    p = np.asarray(reference, np.float64) + 0.5
    q = np.asarray(current, np.float64) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def stability_by_chance(num_bins: int, *, reference: int, current: int, level: float) -> float:
    """Return what the index of two samples of one distribution exceeds with probability ``level``.

    Times ``1 / (1/N + 1/M)`` it is then distributed as chi-squared with a degree of freedom less than there are bins
    (Yurdakul 2018, Statistical Properties of Population Stability Index, theorem 1), where every bin expects about five
    rows or more and the rows are independent.
    """
    return float(chi2.isf(level, max(1, num_bins - 1))) * (1.0 / reference + 1.0 / current)


def embedding_shift(reference: FloatArray, current: FloatArray, *, seed: int) -> dict[str, Any] | None:
    """Tell two sets of embeddings apart by a linear classifier (Lopez-Paz and Oquab 2017, with AUC as statistic).

    The scores are out of fold (5 folds), so that 0.5 is what equal distributions give in any dimension.

    Args:
        reference: (N, E).
        current: (M, E).
        seed: of the folds.

    Returns:
        ``auc``, ``p_value`` (Mann-Whitney, one-sided) and ``drifted``; None for fewer than 20 rows on a side.
    """
    if min(len(reference), len(current)) < _MIN_EMBEDDED:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([reference, current])
    side = np.repeat([0, 1], [len(reference), len(current)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, rows, side, cv=folds, method="decision_function")
    tested = mannwhitneyu(scores[side == 1], scores[side == 0], alternative="greater")
    auc = float(tested.statistic) / (len(reference) * len(current))
    return {
        "auc": round(auc, 4),
        "p_value": float(tested.pvalue),
        "drifted": bool(auc >= NOTABLE_AUC and tested.pvalue < SIGNIFICANT),
    }


def added_rows(reference: LabelledTexts, current: LabelledTexts) -> LabelledTexts:
    """Return the rows of ``current`` whose text and label ``reference`` does not hold."""
    known = set(zip(reference.texts, reference.labels, strict=True))
    fresh = [row for row in zip(current.texts, current.labels, strict=True) if row not in known]
    return LabelledTexts([text for text, _ in fresh], [label for _, label in fresh], current.labelled, current.numbered)


def findings(parts: Mapping[str, Any]) -> list[str]:
    """Put what drifted into sentences."""
    said: list[str] = []
    if not parts:
        return said
    if parts["labels"] and parts["labels"]["drifted"]:
        said.append(f"label shares moved (PSI {parts['labels']['psi']:.2f})")
    numbers = parts.get("numbers")
    if numbers and numbers["drifted"]:
        before, now = numbers["median"].values()
        said.append(f"the numbers moved (median {before:g} -> {now:g}, KS {numbers['ks']:.2f})")
    if parts["lengths"]["drifted"]:
        before, now = parts["lengths"]["median"].values()
        said.append(f"texts have another length (median {before:g} -> {now:g} characters)")
    if parts["vocabulary"]["drifted"]:
        said.append(f"{parts['vocabulary']['new_token_share']:.0%} of the words were never seen")
    embeddings = parts.get("embeddings")
    if embeddings and embeddings["drifted"]:
        said.append(f"the champion's encoder tells the rows apart (AUC {embeddings['auc']:.2f})")
    return said


def _labels(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, Any]:
    names = sorted({*before, *now})
    p = np.array([before.get(name, 0) for name in names], np.float64)
    q = np.array([now.get(name, 0) for name in names], np.float64)
    psi = population_stability(p, q)
    return {
        "shares": {
            name: {"reference": round(float(a), 4), "current": round(float(b), 4)}
            for name, a, b in zip(names, p / p.sum(), q / q.sum(), strict=True)
        },
        "psi": round(psi, 4),
        "jensen_shannon": round(float(jensenshannon(p, q, base=2)), 4),
        "drifted": psi >= LARGE_PSI,
    }


def _lengths(before: FloatArray, now: FloatArray) -> dict[str, Any]:
    tested = ks_2samp(before, now)
    edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)))[1:-1]
    p = np.bincount(np.digitize(before, edges), minlength=len(edges) + 1)
    q = np.bincount(np.digitize(now, edges), minlength=len(edges) + 1)
    return {
        **_medians(before, now),
        "psi": round(population_stability(p, q), 4),
        **_tested(tested),
    }


def _numbers(before: LabelledTexts, now: LabelledTexts) -> dict[str, Any]:
    reference, current = numbers_of(before.labels), numbers_of(now.labels)
    tested = ks_2samp(reference, current)
    return {**_medians(reference, current), **_tested(tested)}


def _medians(before: FloatArray, now: FloatArray) -> dict[str, Any]:
    return {"median": {"reference": float(np.median(before)), "current": float(np.median(now))}}


def _tested(tested: Any) -> dict[str, Any]:
    return {
        "ks": round(float(tested.statistic), 4),
        "p_value": float(tested.pvalue),
        "drifted": bool(tested.statistic >= LARGE_KS and tested.pvalue < SIGNIFICANT),
    }


def _vocabulary(before: Counter[str], now: Counter[str]) -> dict[str, Any]:
    total = max(1, sum(now.values()))
    new = Counter({token: count for token, count in now.items() if token not in before})
    share = sum(new.values()) / total
    names = sorted({*before, *now})
    p = np.array([before[name] for name in names], np.float64)
    q = np.array([now[name] for name in names], np.float64)
    distance = float(jensenshannon(p, q, base=2)) if p.sum() and q.sum() else 0.0
    return {
        "new_token_share": round(share, 4),
        "new_tokens": [token for token, _ in sorted(new.items(), key=lambda item: (-item[1], item[0]))[:20]],
        "jensen_shannon": round(distance, 4),
        "drifted": share >= LARGE_NEW_TOKENS,
    }


def _counts(labels: Sequence[str | None]) -> Counter[str]:
    return counted(str(label) for label in labels)


def _characters(data: LabelledTexts) -> FloatArray:
    return np.array([len(str(text)) for text in data.texts], np.float64)


def _tokens(data: LabelledTexts) -> Counter[str]:
    return Counter(token for text in data.texts for token in _TOKEN.findall(_NUMBER.sub("0", str(text).lower())))

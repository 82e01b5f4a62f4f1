"""Two models on the same rows: is the difference more than chance?"""

import numpy as np

from secateur.statistics.bootstrap import resampled_sums
from secateur.statistics.discordant import FloatArray, IntArray
from secateur.statistics.f1 import f1_of, of_each


def bootstrap_macro_f1(
    labels: IntArray, before: IntArray, after: IntArray, *, num_labels: int, samples: int, seed: int
) -> FloatArray:
    """Return macro-F1 after less macro-F1 before on resampled rows, (samples,).

    Rows are drawn in pairs: a row brings its label and both predictions. Drawing rows with replacement is drawing the
    combinations of the three from a multinomial, so the cost does not depend on the number of rows (Efron and
    Tibshirani 1993, chapter 13).

    Args:
        labels: index of the true label of every row, (rows,), at least one; or 0 and 1 for every label, (rows, C).
        before: predicted by one model, as ``labels``; -1 = a label that the rows do not know.
        after: predicted by the other one.
        num_labels: C.
        samples: resamples.
        seed: of the resampling.
    """
    triples, counts = _distinct(labels, before, after)
    true, *said = (of_each(column, num_labels=num_labels).astype(np.float64) for column in triples)
    columns = np.concatenate([true, *(part for one in said for part in (true * one, one))], axis=1)
    sums = resampled_sums(columns, counts=counts, samples=samples, seed=seed)
    support, *of_both = np.split(sums, 5, axis=1)
    was, is_ = (f1_of(hits, support, said).mean(axis=-1) for hits, said in (of_both[:2], of_both[2:]))
    difference: FloatArray = is_ - was
    return difference


def _distinct(*columns: IntArray) -> tuple[tuple[IntArray, ...], IntArray]:
    """Return the combinations that rows have, column by column, and the rows that have each."""
    if columns[0].ndim == 1:
        found, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
        return tuple(found), counts
    wide, counts = np.unique(np.concatenate(columns, axis=1), axis=0, return_counts=True)
    return tuple(np.split(wide, len(columns), axis=1)), counts


def bootstrap_growth(
    before: FloatArray, after: FloatArray, *, characters: IntArray, samples: int, seed: int
) -> FloatArray:
    """Return perplexity per character after, divided by before, less 1, on resampled texts, (samples,).

    Texts are drawn in pairs, as tokens of one text depend on each other (Efron and Tibshirani 1993, chapter 13).

    Args:
        before: loss of every text by one model, in nats, (texts,), at least one.
        after: by the other one.
        characters: of every text, (texts,).
        samples: resamples.
        seed: of the resampling.
    """
    columns = np.stack([after - before, characters], axis=1)
    sums = resampled_sums(columns, samples=samples, seed=seed)
    growth: FloatArray = np.expm1(sums[:, 0] / sums[:, 1])
    return growth

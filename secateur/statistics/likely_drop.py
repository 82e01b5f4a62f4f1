"""What a pruned classifier has probably lost, told from few rows: by labels, and by how sure the dense model is.

The labels of 400 rows tell a loss of two points of macro-F1 from none hardly at all, and whoever looks for the harshest
cut that they allow finds the one that they flatter. The dense model's probabilities tell more of each row: where it is
sure of an answer that the pruned model changes, something was probably lost, whatever the one label says. They are no
truth either: a pruned model can be right where the dense one is wrong. So each counts as far as it can be trusted.
"""

import numpy as np
import numpy.typing as npt

from secateur.statistics.f1 import f1_of, ratio

FloatArray = npt.NDArray[np.float64]

_TRUST = 0.5
"""Standard deviation of what the probabilities are off by, as a share of the loss that they expect. Nine rounds on
three tables lost -0.7 to 1.4 times as much on test as was expected (docs/log.md)."""

_TEMPERATURES = np.geomspace(0.25, 8.0, 101)


def likely_drop(labels: npt.NDArray[np.int64], *, dense: FloatArray, pruned: FloatArray) -> float:
    """Return what is probably lost of macro-F1, as a fraction; negative where something is probably gained.

    Two estimates of one loss are averaged by their precisions: that of the labels, whose variance is that of the rows
    in pairs (by the influence of each row), and the expected one under the dense model's calibrated probabilities
    (Guo et al. 2017: one temperature, fitted on the same labels), with a bias of ``_TRUST``. The more rows there are,
    the more the labels count.

    Args:
        labels: of the rows, (N,).
        dense: logits of the dense model, (N, C).
        pruned: logits of the pruned one, (N, C).
    """
    count = dense.shape[1]
    true = _one_hot(labels, count)
    likely = _softmax(dense / _temperature(labels, dense))
    said = [_one_hot(logits.argmax(axis=1), count) for logits in (dense, pruned)]
    by_labels, by_labels_each = _lost(true, *said)
    expected, expected_each = _lost(likely, *said)
    of_chance = float(((by_labels_each - expected_each) ** 2).sum())
    of_bias = (_TRUST * expected) ** 2
    if of_chance + of_bias == 0.0:  # no answer changed
        return by_labels
    return expected + (by_labels - expected) * of_bias / (of_chance + of_bias)


def _lost(truth: FloatArray, before: FloatArray, after: FloatArray) -> tuple[float, FloatArray]:
    """Return how much lower the macro-F1 is after, and the influence of every row on that, (N,)."""
    (value, each), (value_after, each_after) = _macro_f1(truth, before), _macro_f1(truth, after)
    return value - value_after, each - each_after


def _macro_f1(truth: FloatArray, said: FloatArray) -> tuple[float, FloatArray]:
    """Return the macro-F1 of answers when rows have labels by shares, and its derivative by the weight of each row."""
    hits, support, answers = (truth * said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0)
    f1, size = f1_of(hits, support, answers), support + answers
    each = ratio(np.ones_like(size), size) * (2.0 * truth * said - f1 * (truth + said))
    return float(f1.mean()), each.mean(axis=1)


def _one_hot(index: npt.NDArray[np.int64], count: int) -> FloatArray:
    return np.eye(count)[index]


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _temperature(labels: npt.NDArray[np.int64], logits: FloatArray) -> float:
    """Return the temperature at which the labels are likeliest."""
    rows = np.arange(len(labels))

    def unlikely(temperature: float) -> float:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]).mean())

    return float(min(_TEMPERATURES.tolist(), key=unlikely))

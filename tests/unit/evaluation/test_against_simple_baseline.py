import numpy as np
import pytest

from secateur.config.evaluate import EvaluateSection
from secateur.evaluation.against_simple_baseline import against_simple_baseline, verdict, verdict_on_texts
from secateur.evaluation.perplexity import DocumentLosses

_LABELS = np.zeros(200, np.int64)


def _right(*rows: int) -> np.ndarray:
    predicted = np.ones(200, np.int64)
    predicted[list(rows)] = 0
    return predicted


def test_rows_that_only_one_gets_right_are_counted():
    found = against_simple_baseline(_LABELS, model=_right(0, 1, 2), reference=_right(2, 3))
    assert (found["only_model"], found["only_reference"]) == (2, 1)
    assert found["p_value"] == 1.0


@pytest.mark.parametrize(
    ("model", "reference", "said"),
    [
        (range(100), range(80), None),
        (
            range(80),
            range(100),
            "is better than the dense model: TF-IDF (macro-F1 0.7500 against 0.7000; 20 test rows ",
        ),
        (range(90), range(80, 200), "is better than"),
        (range(84), range(80), "Too few test rows to show that the dense model is better"),
        (range(80), range(80), "is as good as"),
    ],
)
def test_a_sentence_where_the_model_does_not_win(model, reference, said):
    found = against_simple_baseline(_LABELS, model=_right(*model), reference=_right(*reference))
    sentence = verdict("TF-IDF", {"macro_f1": 0.75, **found}, model="dense", macro_f1=0.7)
    assert sentence is None if said is None else said in sentence


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (-0.5, None),
        (
            0.5,
            "is better than the dense model: 5-grams (perplexity per character 7.39 against 12.18; that of the model",
        ),
        (0.0, "Too few test texts to show that the dense model is better"),
    ],
)
def test_a_sentence_where_a_generator_predicts_no_better_than_n_grams(worse, said):
    characters = np.full(50, 10)
    noise = np.tile([-1.0, 1.0], 25)  # nats of a text
    simple = DocumentLosses(np.full(50, 20.0), tokens=characters, characters=characters)
    model = DocumentLosses(20.0 + 10 * worse + noise, tokens=characters, characters=characters)
    sentence = verdict_on_texts("5-grams", simple, model=model, settings=EvaluateSection(), seed=0)
    assert sentence is None if said is None else said in sentence

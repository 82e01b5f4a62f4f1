import numpy as np
import pytest

from secateur.evaluation.against_simple_baseline import against_simple_baseline, verdict

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

from pathlib import Path

import pytest

from secateur.errors import CheckpointError
from secateur.evaluation.prediction import Predictor
from secateur.models.checkpoint import save
from tests.tiny_models import LABELS, tiny_model, tiny_tokenizer

TEXTS = ["good day", "the train is very very bad", "a", "unheard words", "good " * 30]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prediction") / "model"
    save(tiny_model(), tiny_tokenizer(), folder, card={"max_length": 8}, check_reload=False)
    return folder


def test_the_order_and_the_batches_make_no_difference(checkpoint: Path):
    predictor = Predictor.load(checkpoint)
    together = predictor.predict(TEXTS, batch_size=2)
    alone = [predictor.predict([text])[0] for text in TEXTS]
    assert [prediction.label for prediction in together] == [prediction.label for prediction in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


def test_scores_are_probabilities_of_the_labels(checkpoint: Path):
    for prediction in Predictor.load(checkpoint).predict(TEXTS):
        assert list(prediction.scores) == LABELS
        assert sum(prediction.scores.values()) == pytest.approx(1.0)
        assert prediction.score == prediction.scores[prediction.label] == max(prediction.scores.values())


def test_long_texts_are_cut_as_in_training(checkpoint: Path):
    predictor = Predictor.load(checkpoint)
    assert predictor.max_length == 8
    cut, same = predictor.predict(["good " * 30, "good " * 6])
    assert cut == same


def test_no_texts_no_predictions(checkpoint: Path):
    assert Predictor.load(checkpoint).predict([]) == []


def test_an_empty_text_has_a_prediction(checkpoint: Path):
    assert Predictor.load(checkpoint).predict([""])[0].label in LABELS


def test_a_runtime_that_is_not_there(checkpoint: Path):
    with pytest.raises(CheckpointError, match="holds a model for torch, asked for onnx; `secateur export` writes"):
        Predictor.load(checkpoint, runtime="onnx")

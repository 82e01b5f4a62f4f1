from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from secateur.errors import CheckpointError, DataError, ModelError
from secateur.formats.onnx import export_onnx
from secateur.inference.encoding import similar_lengths
from secateur.inference.prediction import Predictor
from secateur.models.checkpoint import save
from secateur.readers.pairs import as_text
from tests.tiny_models import LABELS, WORDS, tiny_model, tiny_tokenizer

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
    # Alone: rows of one batch may differ in their last bits.
    [cut], [same] = predictor.predict(["good " * 30]), predictor.predict(["good " * 6])
    assert (cut.cut, same.cut) == (True, False)
    assert replace(cut, cut=False) == same


def test_a_caller_with_a_bar_of_its_own_is_told_of_every_text(checkpoint: Path):
    """A promotion asks a dozen times; each showed a bar called ``texts``."""
    told: list[float] = []

    def advance(note: str = "", *, steps: float = 1) -> None:
        told.append(steps)

    assert len(Predictor.load(checkpoint).predict(TEXTS, batch_size=2, advance=advance)) == len(TEXTS) == sum(told)


def test_no_texts_no_predictions(checkpoint: Path):
    assert Predictor.load(checkpoint).predict([]) == []


def test_an_empty_text_has_a_prediction(checkpoint: Path):
    assert Predictor.load(checkpoint).predict([""])[0].label in LABELS


def test_a_runtime_that_is_not_there(checkpoint: Path):
    with pytest.raises(CheckpointError, match="holds a model for torch, asked for onnx; `secateur export` writes"):
        Predictor.load(checkpoint, runtime="onnx")


def test_calls_hold_rows_of_similar_length_and_every_row_once():
    lengths = [9, 2, 30, 8, 2, 10, 31, 9, 2]
    groups = list(similar_lengths(lengths, batch_size=3))
    assert sorted(index for group in groups for index in group) == list(range(9))
    assert [[lengths[index] for index in group] for group in groups] == [[2, 2, 2], [8, 9, 9], [10], [30, 31]]


def test_int8_calls_every_row_alone_so_that_its_scale_is_its_own(checkpoint: Path):
    predictor = Predictor.load(checkpoint)
    shapes, masks = [], []

    def runner(ids: np.ndarray, mask: np.ndarray, _types: None) -> np.ndarray:
        shapes.append(ids.shape)
        masks.append(mask)
        return predictor.runner(ids, mask)

    int8 = replace(predictor, runtime="onnx-int8", runner=runner)
    alone = [predictor.predict([text])[0] for text in TEXTS]
    assert int8.predict(TEXTS) == alone
    assert int8.predict(TEXTS[::-1]) == alone[::-1]
    assert {rows for rows, _ in shapes} == {1}
    assert all(mask.all() for mask in masks)


@pytest.mark.parametrize(("model_type", "typed"), [("bert", True), ("roberta", True), ("distilbert", False)])
def test_pairs_are_answered_as_transformers_would_in_every_form(model_type: str, typed: bool, tmp_path: Path):
    model = tiny_model(model_type, num_layers=1)
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)})
    save(model, tokenizer, tmp_path / "model", card={"max_length": 9, "texts": 2}, check_reload=True)
    firsts, seconds = ["good day", "the train is very very bad", "a", "day"], ["bad", "a good day", "very " * 9, ""]
    inputs = tokenizer(firsts, seconds, truncation=True, max_length=9, padding=True, return_tensors="pt")
    assert inputs["token_type_ids"].sum() > len(firsts)
    if not typed:
        del inputs["token_type_ids"]
    with torch.inference_mode():
        expected = torch.softmax(model.eval()(**inputs).logits, dim=-1).numpy()
    pairs = [as_text(pair) for pair in zip(firsts, seconds, strict=True)]
    export_onnx(tmp_path / "model", tmp_path / "onnx")
    for folder in (tmp_path / "model", tmp_path / "onnx"):
        found = Predictor.load(folder).predict(pairs, batch_size=2)
        assert np.allclose([[*one.scores.values()] for one in found], expected, atol=1e-5)
        assert [one.cut for one in found] == [False, True, True, False]
        assert Predictor.load(folder).predict(["day"])[0].label == found[-1].label, "its second text is empty"


def test_a_graph_for_one_text_is_given_no_pairs(tmp_path: Path):
    """Nobody said that the model reads pairs: it does in PyTorch, and its graph has no input for their types."""
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)})
    save(tiny_model(num_layers=1), tokenizer, tmp_path / "model", card={"max_length": 9}, check_reload=False)
    export_onnx(tmp_path / "model", tmp_path / "onnx")
    pair = as_text(["good day", "bad"])
    assert Predictor.load(tmp_path / "model").predict([pair, pair])[0].label in LABELS
    with pytest.raises(ModelError, match="this ONNX graph reads one text, and was given two"):
        Predictor.load(tmp_path / "onnx").predict([pair])
    with pytest.raises(DataError, match="some rows have two texts and others one"):
        Predictor.load(tmp_path / "model").predict([pair, "alone"])

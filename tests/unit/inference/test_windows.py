"""What is said of a text in windows, whatever a model tells: the mean of what it says of each as a text."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from secateur.data.encoding import read_long_texts_
from secateur.data.windows import Windows, remark_on_length
from secateur.errors import CheckpointError
from secateur.inference.embedding import Embedder
from secateur.inference.embeddings import mean_pooled
from secateur.inference.prediction import Predictor
from secateur.kinds.registry import kind_named
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.readers.grades import joined
from tests.tiny import write_bert

SPOKEN = "the house stone river bad train day good song walk book my today lovely that"
WORDS = SPOKEN.split() * 2
WINDOWS = Windows(8, 1, 1, most=8)
PARTS = [" ".join(WORDS[start : start + 6]) for start in WINDOWS.starts(len(WORDS) + 2)]
LONG = " ".join(WORDS)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture
def written(base, tmp_path):
    def write(*, task, labels, problem=None):
        tokenizer = load_tokenizer(base)
        read_long_texts_(tokenizer, "windows")
        model = load_base(base, labels=labels, problem_type=problem)
        save(model, tokenizer, tmp_path / "model", card={"task": task, "max_length": 8}, check_reload=False)
        return tmp_path / "model"

    return write


@pytest.mark.parametrize(("task", "name"), [("regression", "number"), ("ordinal", joined("12345"))])
def test_a_number_is_the_mean_number(written, task, name):
    model = Predictor.load(written(task=task, labels=[name], problem="regression"))
    whole, *parts = model.predict([LONG, *PARTS])
    assert whole.windows == len(PARTS) == 6 and {part.windows for part in parts} == {1}
    assert whole.number == pytest.approx(np.mean([part.number for part in parts]), abs=1e-6)


def test_several_labels_have_the_mean_of_their_log_odds(written):
    problem = "multi_label_classification"
    model = Predictor.load(written(task="multi_label", labels=["a", "b", "c"], problem=problem))
    whole, *parts = model.predict([LONG, *PARTS])
    for name in "abc":
        odds = np.mean([logit(part.scores[name]) for part in parts])
        assert logit(whole.scores[name]) == pytest.approx(odds, abs=1e-5)


def test_a_label_has_the_geometric_mean_of_the_odds_whatever_stands_beside_the_text(written):
    model = Predictor.load(written(task="classification", labels=["a", "b", "c"]))
    for batch_size in (1, 4, 64):
        whole, *parts = model.predict([LONG, *PARTS], batch_size=batch_size)
        means = np.exp(np.mean([np.log(list(part.scores.values())) for part in parts], axis=0))
        assert list(whole.scores.values()) == pytest.approx(means / means.sum(), abs=1e-5)
    told = []
    model.predict([LONG, "day", LONG], batch_size=2, advance=lambda note="", *, steps=1: told.append(steps))
    assert sum(told) == 3
    assert [one.cut for one in model.predict([LONG, "day " * 48, "day " * 49])] == [False, False, True]


def test_states_are_the_mean_over_windows(written):
    folder = written(task="classification", labels=["a", "b"])
    whole, *parts = mean_pooled(folder, [LONG, *PARTS])
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), atol=1e-6)


def test_vectors_are_of_one_text(written, monkeypatch):
    folder = written(task="classification", labels=["a", "b"])
    monkeypatch.setattr("secateur.inference.embedding.kind_of_folder", lambda *_: kind_named("embedding"))
    with pytest.raises(CheckpointError, match="says long_texts='windows'; a vector is that of one text"):
        Embedder.load(folder)


def test_what_is_said_of_lengths():
    assert remark_on_length(10, 8, cut=0, long=0, windows=0) == []
    assert remark_on_length(10, 8, cut=2, long=0, windows=0) == [
        "2 of 10 texts (20.0%) were cut at the 8 tokens that the model reads"
    ]
    assert remark_on_length(10, 8, cut=1, long=2, windows=9) == [
        "2 of 10 texts (20.0%) have more than the 8 tokens that the model reads at once, and were read in 4.5 windows "
        "on average; of 1 of them something between two windows is not read"
    ]

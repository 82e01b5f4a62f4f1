"""An embedding model of sentence-transformers: pruned without labels, exported, asked, served."""

import csv
import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

import secateur
from secateur.cli import cli
from secateur.errors import ConfigError, DataError, ModelError
from secateur.formats.onnx import quantize_onnx
from secateur.inference.embedding import Embedder
from secateur.models.card import Card, verify
from secateur.models.checkpoint import load
from secateur.statistics import neighbours
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tasks.serving.running import running
from tests.tiny import sentences
from tests.tiny_embedder import write_embedder
from tests.tiny_models import tiny_model

QUICK = ("-S", "calibration_rows=48", "-S", "search_trials=0", "-S", "ffn_multiple=8", "--threads", "1")
TEXTS = ["a good day", "my bad house today", "the song of this stone and the river", "?"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and texts, pruned to 0.6 of its MACs and trained."""
    root = tmp_path_factory.mktemp("home")
    write_embedder(root / "model", layers=2)
    with (root / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "topic"])
        writer.writerows(sentences(120))
    said = output(
        root, "prune", "model", "--data", "texts.csv", "--out", "pruned", "--macs", "0.6", "--epochs", "6", *QUICK,
        "--label-column", "topic", "-S", "recovery.best_by=loss", "-S", "recovery.train_embeddings=true", "--json",
    )  # fmt: skip
    (root / "said.json").write_text(said)
    return root


@pytest.fixture(scope="module")
def forms(home: Path) -> dict[str, Path]:
    """The pruned model in every form."""
    for name in ("onnx", "padded"):
        output(home, "export", "pruned", "--to", name, "--out", name)
    quantize_onnx(home / "onnx", home / "int8")
    return {name: home / name for name in ("pruned", "onnx", "int8", "padded")}


def test_the_neighbours_that_are_kept_are_told(home: Path) -> None:
    said: dict[str, Any] = json.loads((home / "said.json").read_text())
    dense, pruned = said["dense"], said["pruned"]
    assert said["kind"] == "embedding"
    assert dense["recall_at_10"] == dense["recall_at_1"] == 1.0
    assert 0.3 < pruned["recall_at_10"] < 1.0
    assert -1.0 <= pruned["rank_correlation"] < 1.0
    assert said["achieved"]["macs"] <= 0.6
    assert 0.0 < pruned["probe_macro_f1"] <= 1.0
    verify(home / "pruned")
    card = Card.read(home / "pruned")
    assert (card.task, card.labels, card.max_length) == ("embedding", [], 24)
    assert card.metrics["held_out_recall_at_10"] == pytest.approx(pruned["recall_at_10"], abs=1e-6)


def test_training_brings_it_nearer_to_dense(home: Path, tmp_path: Path) -> None:
    """And no label column is needed."""
    printed = output(
        home, "prune", "model", "--data", "texts.csv", "--out", tmp_path / "cut", "--macs", "0.6", *QUICK, "--json"
    )
    trained = json.loads((home / "said.json").read_text())["pruned"]
    untrained = json.loads(printed)["pruned"]
    assert trained["macs"] == untrained["macs"]
    assert "probe_macro_f1" not in untrained
    far = [Card.read(folder).metrics["held_out_loss"] for folder in (home / "pruned", tmp_path / "cut")]
    assert 0.0 < far[0] < far[1]


def test_every_form_gives_the_same_unit_vectors(forms: dict[str, Path]) -> None:
    found = {name: Embedder.load(folder).embed(TEXTS).vectors for name, folder in forms.items()}
    for name, vectors in found.items():
        assert vectors.shape == (len(TEXTS), 32) and vectors.dtype == np.float32, name
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    for name in ("onnx", "padded"):
        np.testing.assert_allclose(found[name], found["pruned"], atol=1e-4)
    assert (found["int8"] * found["pruned"]).sum(axis=1).min() > 0.98
    alone = Embedder.load(forms["int8"]).embed(TEXTS[:1]).vectors
    np.testing.assert_array_equal(alone[0], found["int8"][0])


def test_the_padded_folder_loads_where_plain_ones_do(forms: dict[str, Path]) -> None:
    expected = Embedder.load(forms["pruned"]).embed(TEXTS).vectors
    tokenizer = AutoTokenizer.from_pretrained(forms["padded"])
    model = AutoModel.from_pretrained(forms["padded"]).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    pooled = normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-4)


def test_sentence_transformers_gives_the_same_vectors(forms: dict[str, Path]) -> None:
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(forms["padded"]), device="cpu")
    assert model.max_seq_length == 24
    expected = Embedder.load(forms["pruned"]).embed(TEXTS).vectors
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-4)


def test_a_pruned_folder_in_sentence_transformers(home: Path, forms: dict[str, Path], tmp_path: Path) -> None:
    """By its own reader, without code in a folder; trained or not, what it saves is read by everything."""
    library = pytest.importorskip("sentence_transformers")
    expected = Embedder.load(forms["pruned"]).embed(TEXTS).vectors
    model = secateur.sentence_transformer(forms["pruned"], device="cpu")
    assert model.max_seq_length == 24
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-5)
    model.save(str(tmp_path / "saved"))
    again = secateur.sentence_transformer(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert [path.name for path in (tmp_path / "saved").rglob("*.py")] == []
    np.testing.assert_allclose(Embedder.load(tmp_path / "saved").embed(TEXTS).vectors, expected, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"pruned references the module class 'secateur\.formats\.sentence_transformers"
    ):
        library.SentenceTransformer(str(forms["pruned"]), device="cpu")
    trusted = library.SentenceTransformer(str(forms["pruned"]), device="cpu", trust_remote_code=True)
    np.testing.assert_array_equal(trusted.encode(TEXTS), model.encode(TEXTS))


def test_what_sentence_transformers_cannot_read_is_said(forms: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("sentence_transformers")
    tiny_model().save_pretrained(tmp_path / "classifier")
    with pytest.raises(ModelError, match=r"classifier holds a .*, not an embedding model; secateur.load reads it"):
        secateur.sentence_transformer(tmp_path / "classifier")
    with pytest.raises(ConfigError, match=r"model_kwargs: device_map has no place here"):
        sentences_module().Transformer(str(forms["pruned"]), model_kwargs={"device_map": "auto"})
    with pytest.raises(ConfigError, match=r"backend='onnx': .*pruned is read by secateur, with torch alone"):
        sentences_module().Transformer(str(forms["pruned"]), backend="onnx")
    monkeypatch.setattr("secateur.api.checkpoints.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="sentence-transformers is not installed"):
        secateur.sentence_transformer(forms["pruned"])


def sentences_module() -> Any:
    from secateur.formats import sentence_transformers

    return sentence_transformers


def test_an_export_of_an_export(home: Path, forms: dict[str, Path], tmp_path: Path) -> None:
    """What sentence-transformers reads beside a model is nothing for a graph."""
    output(home, "export", "padded", "--to", "onnx", "--out", tmp_path / "onnx")
    assert not (tmp_path / "onnx" / "modules.json").exists()
    expected = Embedder.load(forms["pruned"]).embed(TEXTS).vectors
    np.testing.assert_allclose(Embedder.load(tmp_path / "onnx").embed(TEXTS).vectors, expected, atol=1e-4)


def test_what_it_answers_for_texts_and_rows(home: Path, forms: dict[str, Path]) -> None:
    expected = Embedder.load(forms["pruned"]).embed(TEXTS).vectors
    told = json.loads(output(home, "predict", "pruned", *TEXTS, "", "--json"))
    np.testing.assert_allclose([row["embedding"] for row in told[:-1]], expected, atol=1e-4)
    assert told[-1]["embedding"] is None and told[-1]["reason"]
    assert "(32" in output(home, "predict", "pruned", *TEXTS)
    output(home, "predict", "pruned", "--data", "texts.csv", "--out", "vectors.parquet")
    column = pq.read_table(home / "vectors.parquet")["predicted_embedding"]
    assert column.type == pa.list_(pa.float32())
    assert len(column) == 120 and len(column[0]) == 32


def test_a_pruned_model_is_pruned_again_and_saved_from_python(home: Path, tmp_path: Path) -> None:
    model = secateur.load(home / "pruned")
    secateur.save(model, tmp_path / "saved", tokenizer=AutoTokenizer.from_pretrained(home / "pruned"))
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "saved")(input_ids=ids).logits, model(input_ids=ids).logits)
    again = output(
        home, "prune", "pruned", "--data", "texts.csv", "--out", tmp_path / "again", "--params", "0.8", *QUICK,
        "--criterion", "magnitude", "-S", "vocabulary_min_count=2", "--json",
    )  # fmt: skip
    assert json.loads(again)["achieved"]["params"] <= 0.8


def test_bench_times_it(home: Path) -> None:
    printed = output(home, "bench", "model", "pruned", "--runtime", "torch", "--repeats", "3", "--json")
    assert len(json.loads(printed)["results"]) == 2


def test_the_server_embeds(forms: dict[str, Path], tmp_path: Path) -> None:
    expected = Embedder.load(forms["int8"]).embed(TEXTS).vectors
    with running(Project(tmp_path), str(forms["int8"]), max_texts=5) as server:
        answered = server.client.post("/embed", json={"texts": [*TEXTS, " "]}).json()
        assert answered["model"] == {"name": "int8", "version": None}
        np.testing.assert_array_equal(np.array(answered["embeddings"][:4], np.float32), expected)
        assert answered["embeddings"][4] is None
        assert answered["reasons"] == [None, None, None, None, "the text is empty"]
        alone = server.client.post("/embed", json={"texts": TEXTS[0]}).json()
        assert set(alone) == {"model", "embeddings"} and len(alone["embeddings"]) == 1
        refusal = server.client.post("/embed", json={"texts": ["a"] * 6})
        assert (refusal.status_code, refusal.json()["field"]) == (422, "texts")
        assert server.predict("a").status_code == 404
        assert server.client.get("/model").json()["task"] == "embedding"
        assert "/embed" in server.client.get("/docs").text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("-S", "hidden_size=16"), ConfigError, "hidden_size=16: the vectors of an embedding model are as wide as"),
        (("--criterion", "gradient"), ConfigError, "criterion gradient follows the loss, and an embedding model"),
        (("--criterion", "fisher"), ConfigError, "criterion fisher follows the loss"),
        (
            ("--text-column", "text", "--text-column", "topic"),
            DataError,
            "--text-column: a model for embedding takes one text",
        ),
    ],
)
def test_what_cannot_be_asked_of_it(
    home: Path, tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    found = refused(home, "prune", "model", "--data", "texts.csv", "--out", tmp_path / "out", *arguments)
    assert isinstance(found, error)
    assert str(found).startswith(message)


def test_labels_that_a_probe_cannot_learn_are_refused(home: Path, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = ((text, "news", number) for number, (text, _) in enumerate(sentences(60)))
        csv.writer(file).writerows([("text", "source", "id"), *rows])
    for column, reason in (("source", "have one label"), ("id", "42 labels in 42 rows to learn from")):
        found = refused(
            home, "prune", "model", "--data", tmp_path / "rows.csv", "--out", tmp_path / "out", "--label-column", column
        )
        assert isinstance(found, DataError)
        assert str(found).startswith("--label-column: a probe learns nothing by it: ") and reason in str(found)


def test_python_refuses_what_it_does_not_prune(home: Path) -> None:
    with pytest.raises(ModelError, match="the command `secateur prune` prunes it"):
        secateur.prune(secateur.load(home / "model"), [], budget={"macs": 0.5})
    with pytest.raises(ModelError, match="found a BertModel, an encoder without a head"):
        secateur.save(AutoModel.from_pretrained(home / "model"), home / "nowhere")


def test_any_form_is_scored_against_the_dense_model(home: Path, forms: dict[str, Path]) -> None:
    scores = {}
    for name in ("model", "pruned", "int8"):
        printed = output(home, "evaluate", name, "--data", "texts.csv", "--dense", "model", "--threads", "1", "--json")
        found = json.loads(printed)
        assert found["rows"] == 120
        scores[name] = found["scores"]["recall_at_10"]
    assert scores["model"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    for name in ("pruned", "int8"):
        assert 0.0 < scores[name]["low"] < scores[name]["value"] < scores[name]["high"] < 1.0
    table = output(home, "evaluate", "int8", "--data", "texts.csv", "--dense", "model")
    assert "recall@10 (95 %" in " ".join(table.split())


def test_no_more_texts_are_embedded_than_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ("evaluate", "pruned", "--data", "texts.csv", "--dense", "model", "--threads", "1", "--json")
    monkeypatch.setattr(neighbours, "MAX_ROWS", 40)
    asked, embed = [], Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, texts: asked.append(len(texts)) or embed(self, texts))
    found = json.loads(output(home, *whole))
    assert asked == [40, 40] and found["rows"] == 40
    assert found["left_out"] == {"a sample of 40 tells as much": 80}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name that by --dense"),
        (("--dense", "model", "--by", "topic"), "neighbours are looked for among all rows"),
        (("--dense", "model", "--text-column", "text", "--text-column", "topic"), "name one --text-column"),
    ],
)
def test_what_a_score_needs(home: Path, arguments: tuple[str, ...], message: str) -> None:
    with chdir(home), pytest.raises(click.UsageError, match=message):
        cli.main(["evaluate", "pruned", "--data", "texts.csv", *arguments], standalone_mode=False)

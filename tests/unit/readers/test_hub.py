import httpx2
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from secateur.errors import DataError
from secateur.sources import hub

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


class Api:
    """The hub as far as this module asks it."""

    def dataset_info(self, repository, revision=None):
        return type("Info", (), {"sha": "c0ffee"})()


class Unreachable:
    def dataset_info(self, repository, revision=None):
        raise httpx2.ConnectError("Name or service not known\nand more")


def stream(*rows):
    columns = {name: [row[name] for row in rows] for name in FEATURES}
    return Dataset.from_dict(columns, features=FEATURES).to_iterable_dataset()


def download(tmp_path, split="train"):
    return hub.download_rows("own/set", config=None, split=split, revision=None, out=tmp_path / "rows.parquet")


def test_rows_are_streamed_and_labels_are_named(tmp_path, monkeypatch):
    asked = {}

    def load_dataset(repository, **options):
        asked.update(options, repository=repository)
        return stream({"text": "good", "label": 1}, {"text": "bad", "label": 0}, {"text": "?", "label": -1})

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    assert download(tmp_path) == "c0ffee"
    assert asked.pop("cache_dir") and asked == {
        "repository": "own/set",
        "name": None,
        "split": "train",
        "revision": "c0ffee",
        "streaming": True,
    }
    written = pq.read_table(tmp_path / "rows.parquet")
    assert written.to_pydict() == {"text": ["good", "bad", "?"], "label": ["pos", "neg", None]}
    assert written.schema.metadata is None


def test_without_a_network_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "HfApi", Unreachable)
    with pytest.raises(
        DataError, match="'own/set' is no file here, and the Hugging Face hub cannot be reached"
    ) as caught:
        download(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError('Unknown split "dev".\nShould be one of [...]'), 'cannot be loaded: Unknown split "dev". Should'),
        (hub.DatasetNotFoundError("no"), "the hub does not give out 'own/set'"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_explained(tmp_path, monkeypatch, raised, message):
    def load_dataset(repository, **options):
        raise raised

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=message):
        download(tmp_path)


def test_a_split_without_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "load_dataset", lambda repository, **options: stream({"text": "x", "label": 1}).take(0))
    with pytest.raises(DataError, match="split 'dev' of 'own/set' has no rows"):
        download(tmp_path, split="dev")

"""A project with a real registry of tiny models, good ones and ones made worse on purpose, without a run before it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from secateur.files import sha256_file, write_json
from secateur.models.card import Card
from secateur.models.checkpoint import save
from secateur.registry import mlflow_flavor, mlflow_store
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry, Version
from secateur.registry.publication import tags_of
from secateur.workflow.project import Project
from tests import tiny
from tests.tiny import git, sentences, write_bert, write_params

LABELS = ("negative", "neutral", "positive")
STRICT: dict[str, Any] = {
    "promote.min_macro_f1": 0.8,
    "promote.max_drop": 0.05,
    "promote.classes.min_rows": 10,
    "promote.slices.min_rows": 10,
    "promote.robustness.rows": 24,
    "promote.robustness.max_drop": 0.2,
}

_HEARING = ("value.weight", "attention.output.dense.weight", "pooler.dense.weight")
"""What the first token hears of the others, and what is read off it."""

Change = Callable[[PreTrainedModel], PreTrainedModel]


class Stand:
    """A project folder, and what registers models in it."""

    def __init__(self, root: Path) -> None:
        """Write parameters, test rows and a trained tiny model."""
        self.root = root
        root.mkdir(parents=True)
        git(root, "init", "-q", "-b", "main")
        (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
        self.configure()
        write_bert(root / "tiny-bert")
        _write_test_rows(root)
        self.write_lock()
        (root / ".dvc").mkdir()
        (root / ".dvc" / "config").touch()
        self.tokenizer = AutoTokenizer.from_pretrained(root / "tiny-bert")
        self.good = _trained(root / "tiny-bert", self.tokenizer)

    @property
    def project(self) -> Project:
        """The project."""
        return Project(self.root)

    @property
    def registry(self) -> ModelRegistry:
        """Its registry."""
        return ModelRegistry(self.project)

    @property
    def records(self) -> Records:
        """Aliases and tags of its model."""
        return Records(self.registry, "tiny")

    def configure(self, **changes: Any) -> None:
        """Write params.yaml; ``promote__max_drop=0.5`` is ``promote.max_drop``."""
        named = {name.replace("__", "."): value for name, value in changes.items()}
        write_params(self.root / "params.yaml", {**STRICT, **named})

    def register(
        self, name: str, model: PreTrainedModel | None = None, *, after_save: Callable[[Path], None] | None = None
    ) -> str:
        """Register a model as a new version, call it challenger, and return its number."""
        folder = self.root / "models" / name
        card = {
            "key": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
            "stage": "baseline" if name == "baseline" else f"prune@{name}",
            "state": "recovered",
            "inputs": {"tokens": "abc"},
            "fingerprint": {"torch": torch.__version__},
            "labels": list(LABELS),
            "max_length": 16,
        }
        save(model or self.good, self.tokenizer, folder, card=card, check_reload=False)
        if after_save is not None:
            after_save(folder)
            _sign_again(folder)
        written = json.loads((folder / "card.json").read_text())
        version = Version(
            name=name,
            checkpoint=folder,
            runtime="torch",
            deployed=None,
            tags=tags_of(Card.of(written)).with_({"secateur.commit": "0" * 40, "secateur.data_md5": "d" * 32}),
            metrics={"macro_f1": 0.5},
            parameters={"run.seed": 0},
        )
        files = [self.root / "dvc.lock", self.root / "params.yaml"]
        published = self.registry.publish(
            [version], experiment="tests", model_name="tiny", run_name="build", files=files
        )
        self.registry.set_alias("tiny", "challenger", published[name])
        return published[name]

    def write_lock(self, **tables: str) -> None:
        """Write a dvc.lock about the test rows that are there; ``train`` and ``validation`` are the md5 of others."""
        file = self.root / "data" / "clean" / "test.parquet"
        test = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        clean = [{"path": f"data/clean/{name}.parquet", "md5": md5} for name, md5 in {"test": test, **tables}.items()]
        stages: dict[str, Any] = {
            "ingest": {
                "deps": [{"path": "rows.csv", "md5": "5" * 32}],
                "params": {"params.yaml": {"ingest": {"source": "rows.csv"}}},
                "outs": [{"path": "data/raw", "md5": "d" * 32 + ".dir"}],
            },
            "clean": {"outs": clean},
            "baseline": {"outs": [{"path": "models/baseline", "md5": "b" * 32 + ".dir"}]},
        }
        for name, prev in (("r1", "baseline"), ("r2", "r1")):
            params = {"params.yaml": {f"prune.rounds.{name}": {"prev": prev}, "prune.budget": {"macs": 0.6}}}
            out = {"path": f"models/{name}", "md5": "e" * 32 + ".dir"}
            stages[f"prune@{name}"] = {"params": params, "outs": [out]}
        with (self.root / "dvc.lock").open("w", encoding="utf-8") as stream:
            YAML().dump({"schema": "2.0", "stages": stages}, stream)

    def cache(self, rows: pa.Table) -> str:
        """Put a table into DVC's cache, and return its md5."""
        file = self.root / "cached.parquet"
        pq.write_table(rows, file)
        md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        target = self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
        return md5

    def stored(self, version: str, file: str) -> Path:
        """Return where a file of a version lies."""
        [found] = self.registry.checkpoint(f"models:/tiny/{version}").parents[1].rglob(file)
        return found


def changed(model: PreTrainedModel, change: Callable[[Mapping[str, torch.Tensor]], None]) -> PreTrainedModel:
    """Return a copy of a model whose tensors were changed in place."""
    import copy

    copied = copy.deepcopy(model)
    with torch.no_grad():
        change(dict(copied.named_parameters()))
    return copied


def shuffled(stand: Stand) -> PreTrainedModel:
    """Return a model trained on labels in random order."""
    return _trained(stand.root / "tiny-bert", stand.tokenizer, shuffle=True)


def without_class(stand: Stand, index: int) -> PreTrainedModel:
    """Return the good model, which never says one of the labels."""

    def change(tensors: Mapping[str, torch.Tensor]) -> None:
        tensors["classifier.bias"][index] -= 100.0

    return changed(stand.good, change)


def slow(stand: Stand, ffn: int = 8192) -> PreTrainedModel:
    """Return a model with the same answers and many neurons that do nothing."""
    config = stand.good.config.__class__(**{**stand.good.config.to_dict(), "intermediate_size": ffn})
    wide = AutoModelForSequenceClassification.from_config(config).eval()
    state = wide.state_dict()
    for name, tensor in stand.good.state_dict().items():
        state[name] = torch.zeros_like(state[name])
        state[name][tuple(slice(0, size) for size in tensor.shape)] = tensor
    wide.load_state_dict(state)
    return wide


def broken_config(folder: Path) -> None:
    """Ask for a layer more than there are weights of."""
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "num_hidden_layers": config["num_hidden_layers"] + 1})


def use_script(monkeypatch: pytest.MonkeyPatch, folder: Path, *, instead: str | None = None) -> None:
    """Register the next models as they were before 0.4, with a script; its ``predict`` may do something else."""
    text = (Path(__file__).with_name("released") / "registered_model-0.4-script.txt").read_text(encoding="utf-8")
    if instead is not None:
        [marker] = [line for line in text.splitlines(keepends=True) if "return pd.DataFrame(self._kind" in line]
        text = text.replace(marker, f"        {instead}\n{marker}")
    script = folder / "registered_model.py"
    folder.mkdir()
    script.write_text(text, encoding="utf-8")

    def save_model(
        path: str, mlflow_model: Any, *, folders: Mapping[str, Path], signature: Any, requirements: list[str]
    ) -> None:
        artifacts = {name: place.resolve().as_uri() for name, place in folders.items()}
        mlflow.pyfunc.save_model(
            path,
            python_model=str(script),
            artifacts=artifacts,
            mlflow_model=mlflow_model,
            signature=signature,
            pip_requirements=requirements,
        )

    monkeypatch.setattr(mlflow_flavor, "save_model", save_model)
    monkeypatch.setattr(mlflow_store, "SCRIPT", "")  # it is listed with the others


def _sign_again(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {name: sha256_file(folder / name) for name in card["files"]}
    write_json(folder / "card.json", card)


def _write_test_rows(root: Path) -> None:
    rows = sentences(90, num_labels=3, seed=5)
    names = ["negative", "positive", "neutral"]
    assert {label for _, label in rows} == set(names)
    columns = {"text": [text for text, _ in rows], "label": [LABELS.index(label) for _, label in rows]}
    file = root / "data" / "clean" / "test.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({**columns, "row": list(range(len(rows)))}), file)
    write_json(root / "data" / "clean" / "labels.json", list(LABELS))


def _trained(base: Path, tokenizer: Any, *, shuffle: bool = False) -> PreTrainedModel:
    """Fit the last layer of a random encoder, in which the telling words of a label are alike, by least squares.

    The encoder hears them: with the small weights of its initialisation, what a word changes is as small as the last
    bits of a sum, and the machine would decide who is right. As it is, weights that are 0.1 % off change no answer.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=3, id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)}
    ).eval()
    rows = sentences(240, num_labels=3, seed=1)
    labels = torch.tensor([LABELS.index(label) for _, label in rows])
    if shuffle:
        labels = labels[torch.randperm(len(labels))]
    batch = tokenizer([text for text, _ in rows], padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        for words in (tiny._NEGATIVE, tiny._NEUTRAL, tiny._POSITIVE):
            ids = tokenizer.convert_tokens_to_ids(words)
            model.bert.embeddings.word_embeddings.weight[ids] += 0.5 * torch.randn(model.config.hidden_size)
        for name, weight in model.bert.named_parameters():
            if name.endswith(_HEARING):
                weight.mul_(8.0)
        pooled = model.bert(**batch).pooler_output
        features = torch.cat([pooled, torch.ones(len(rows), 1)], dim=1)
        ridge = features.T @ features + 1e-3 * torch.eye(features.shape[1])
        solved = 20.0 * torch.linalg.solve(ridge, features.T @ torch.nn.functional.one_hot(labels, 3).float())
        model.classifier.weight.copy_(solved[:-1].T)
        model.classifier.bias.copy_(solved[-1])
    return model

"""A project with a real registry of tiny generators, good ones and ones made worse on purpose."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from secateur.config.base import Runtime
from secateur.inference.runners import exported_folder
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry, Version
from secateur.registry.publication import tags_of
from secateur.workflow.project import Project
from tests.tasks.generation_chain import RUN, baseline_section, reviews, write_inputs, write_texts
from tests.tasks.stage_chain import run_baseline
from tests.tiny import REPOSITORY, full_params, git

NAME = "tiny-generator"
_TINY: dict[str, dict[str, Any]] = {
    "ingest": {"source": "rows.csv", "format": "csv", "label_column": "label"},
    "register": {"model_name": NAME},
    "evaluate": {
        "judge": None,
        "generation": {
            "prompts": [""], "num_texts": 4, "max_tokens": 8, "temperature": 0.8, "top_p": 0.95, "num_samples": 1,
            "batches": [1],
        },
    },
}  # fmt: skip
PROMOTE: dict[str, Any] = {
    "min_rows": 5,
    "latency": {"length": 8, "repeats": 5, "max_ratio": None},
    "size": {"max_ratio": None},
    "significance": {"samples": 200},
}

Change = Callable[[PreTrainedModel], None]


class GeneratorStand:
    """A project folder, and what registers generators in it."""

    def __init__(self, root: Path) -> None:
        """Take what lies there; where there is nothing, write parameters and texts, and train a tiny generator."""
        self.root = root
        if not root.exists():
            self._make(root, root / "work")
        made = root / "work/models/baseline"
        self.good = load(made)
        self.tokenizer = load_tokenizer(made)
        self._card = json.loads((made / "card.json").read_text(encoding="utf-8"))

    def _make(self, root: Path, work: Path) -> None:
        work.mkdir(parents=True)
        git(root, "init", "-q", "-b", "main")
        (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
        self.configure()
        write_inputs(work)
        run_baseline(work, settings=baseline_section(), run=RUN)
        clean = root / "data" / "clean"
        clean.mkdir(parents=True)
        write_texts(clean / "test.parquet", reviews(60, seed=7))
        (clean / "labels.json").write_text((work / "labels.json").read_text(encoding="utf-8"), encoding="utf-8")
        md5 = hashlib.md5((clean / "test.parquet").read_bytes(), usedforsecurity=False).hexdigest()
        lock = {"stages": {"clean": {"outs": [{"path": "data/clean/test.parquet", "md5": md5}]}}}
        (root / "dvc.lock").write_text(json.dumps(lock), encoding="utf-8")

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
        return Records(self.registry, NAME)

    def configure(self, *, promote: dict[str, Any] | None = None, **sections: dict[str, Any]) -> None:
        """Write params.yaml: an example without the section promote, made tiny, and what ``promote`` should hold."""
        values = full_params(REPOSITORY / "examples/reviews-zh-generation.yaml")
        for changes in (_TINY, sections):
            for section, entries in changes.items():
                values[section] = {**values.get(section, {}), **entries}
        values["promote"] = {**PROMOTE, **(promote or {})}
        (self.root / "params.yaml").write_text(json.dumps(values), encoding="utf-8")

    def changed(self, change: Change) -> PreTrainedModel:
        """Return a copy of the good generator, changed in place."""
        model = copy.deepcopy(self.good)
        with torch.no_grad():
            change(model)
        return model

    def noisy(self, scale: float) -> PreTrainedModel:
        """Return a generator with noise on its embeddings, which predicts worse."""

        def change(model: PreTrainedModel) -> None:
            weight = model.get_input_embeddings().weight
            weight += scale * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))

        return self.changed(change)

    def register(self, name: str, model: PreTrainedModel | None = None, *, runtime: Runtime = "torch") -> str:
        """Register a generator as a new version, call it challenger, and return its number."""
        folder = self.root / "models" / name
        own = {key: value for key, value in self._card.items() if key not in ("files", "weights_sha256")}
        key = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        stage = "baseline" if name == "baseline" else f"prune@{name}"
        save(model or self.good, self.tokenizer, folder, card={**own, "key": key, "stage": stage}, check_reload=False)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        exported = exported_folder(folder, runtime=runtime, workdir=self.root / "exports")
        version = Version(
            name=name,
            checkpoint=folder,
            runtime=runtime,
            deployed=None if runtime == "torch" else exported,
            tags=tags_of(Card.of(card)).with_({"secateur.commit": "0" * 40, "secateur.data_md5": "d" * 32}),
            metrics={"char_perplexity": 3.0},
            parameters={"run.seed": 0},
            kind="generation",
        )
        published = self.registry.publish(
            [version],
            experiment="tests",
            model_name=NAME,
            run_name="build",
            files=[self.root / "dvc.lock", self.root / "params.yaml"],
        )
        self.registry.set_alias(NAME, "challenger", published[name])
        return published[name]


def reload_here(patched: pytest.MonkeyPatch) -> None:
    """Compare what was saved with what this process loads: a fresh one is tested elsewhere, and takes seconds."""
    from secateur.models.reload_check import fixed_logits

    patched.setattr("secateur.models.reload_check._logits_of_fresh_process", lambda folder: fixed_logits(load(folder)))

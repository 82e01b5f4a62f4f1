"""What two versions do on the test rows of today, both in the form that is deployed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from secateur.config.promote import PromoteLatencySection, PromoteRobustnessSection
from secateur.config.schema import RunConfig
from secateur.errors import ModelError, ProjectError
from secateur.evaluation.attacks.characters import attack_text
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.gate import Answers, Material
from secateur.evaluation.robust_score import sample_of
from secateur.evaluation.slices import slices_of
from secateur.inference.latency import time_runners, torch_threads
from secateur.inference.prediction import Predictor
from secateur.models.construction import read_config
from secateur.models.families import family_of
from secateur.registry.fresh_process import Answer, ask_folder
from secateur.registry.model_source import Resolved
from secateur.workflow.project import Project

TEST_TABLE = "data/clean/test.parquet"
LABELS = "data/clean/labels.json"

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JudgedRows:
    """The test rows of the workspace.

    Attributes:
        texts: clean.
        labels: index of the label of every text, (rows,); zeros where there are no labels.
        names: of the labels; none in a corpus without.
        md5: of the whole table, as DVC records it.
    """

    texts: Sequence[str]
    labels: IntArray
    names: tuple[str, ...]
    md5: str

    def take(self, kept: npt.NDArray[np.bool_]) -> "JudgedRows":
        """Return the rows of a mask, (rows,)."""
        texts = [text for text, keep in zip(self.texts, kept, strict=True) if keep]
        return replace(self, texts=texts, labels=self.labels[kept])


def read_judged_rows(project: Project) -> JudgedRows:
    """Read them.

    Raises:
        ProjectError: they are not here.
    """
    table, labels = project.root / TEST_TABLE, project.root / LABELS
    for file in (table, labels):
        if not file.is_file():
            raise ProjectError(f"no test rows to judge on: {file} is missing; `secateur run` or `dvc pull` brings it")
    columns = pq.read_table(table, columns=["text", "label"]).to_pydict()
    return JudgedRows(
        texts=columns["text"],
        labels=np.asarray(columns["label"], np.int64),
        names=tuple(json.loads(labels.read_text(encoding="utf-8"))),
        md5=hashlib.md5(table.read_bytes(), usedforsecurity=False).hexdigest(),
    )


def material_of(rows: JudgedRows, config: RunConfig) -> Material:
    """Return what models are judged on."""
    wanted, seed = config.promote.robustness, config.run.seed
    sampled = sample_of(len(rows.texts), num_rows=wanted.rows, seed=seed) if wanted.rows else []
    return Material(
        labels=rows.labels,
        names=rows.names,
        slices=slices_of(rows.texts),
        attacked_rows=np.asarray(sampled, np.int64),
        seed=seed,
    )


def measure(
    models: Mapping[str, Resolved], rows: JudgedRows, *, material: Material, config: RunConfig
) -> dict[str, Answers]:
    """Let models that were verified predict and be timed.

    Args:
        models: by any name.
        rows: of today.
        material: made of these rows.
        config: section ``promote``, and the seed.

    Raises:
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    wanted = config.promote
    with torch_threads(wanted.latency.num_threads):
        predictors = {
            name: Predictor.load(model.folder, num_threads=wanted.latency.num_threads) for name, model in models.items()
        }
        attacked = _attacked_texts(rows, material, settings=wanted.robustness, seed=material.seed)
        times = _times(predictors, models, wanted.latency)
        return {
            name: Answers(
                predicted=predicted_by(predictor, rows.texts, names=rows.names),
                bytes=folder_bytes(models[name].folder),
                latency_ms=times[name],
                attacked={
                    attack: predicted_by(predictor, texts, names=rows.names) for attack, texts in attacked.items()
                },
            )
            for name, predictor in predictors.items()
        }


def predicted_by(predictor: Predictor, texts: Sequence[str], *, names: Sequence[str]) -> IntArray:
    """Return the index of the predicted label of every text, (texts,); -1 for a label that is not among ``names``."""
    index = {name: number for number, name in enumerate(names)}
    return np.array([index.get(found.label, -1) for found in predictor.predict(texts)], np.int64)


def _attacked_texts(
    rows: JudgedRows, material: Material, *, settings: PromoteRobustnessSection, seed: int
) -> dict[str, list[str]]:
    chosen = [rows.texts[index] for index in material.attacked_rows.tolist()]
    if not chosen:
        return {}
    return {
        attack: [attack_text(text, attack=attack, num_words=settings.words_per_text, seed=seed) for text in chosen]
        for attack in settings.attacks
    }


def _times(
    predictors: Mapping[str, Predictor], models: Mapping[str, Resolved], wanted: PromoteLatencySection
) -> dict[str, list[float]]:
    configs = [read_config(model.folder) for model in models.values()]
    for config in configs:
        limit = family_of(config).max_tokens(config)
        if wanted.length > limit:
            raise ModelError(f"promote.latency.length={wanted.length} is more than a model can read ({limit} tokens)")
    vocabulary = min(config.vocab_size for config in configs)
    ids = np.random.default_rng(0).integers(vocabulary, size=(wanted.batch, wanted.length), dtype=np.int64)
    runners = {name: predictor.runner for name, predictor in predictors.items()}
    return time_runners(runners, ids=ids, repeats=wanted.repeats)


def answers_here(folder: Path, texts: Sequence[str], *, num_threads: int) -> list[Answer]:
    """Load a verified folder in this process and ask it, as ``answers_of_folder`` does in another."""
    with torch_threads(num_threads):
        return [Answer(**entry) for entry in ask_folder(folder, texts)]

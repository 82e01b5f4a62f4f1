"""Stage bodies in a temporary folder, without a driver."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.config.baseline import BaselineSection
from secateur.config.evaluate import EvaluateSection
from secateur.config.prune import PruneSettings, Round
from secateur.config.run import RunSection
from secateur.files import remove, write_json
from secateur.workflow.job import Job
from tasks import baseline, evaluate, prune
from tests.tiny import sentences, write_bert
from tests.unit.pruning.prune_settings import prune_settings

RUN = RunSection(task="classification", seed=0, num_threads=1, precision="fp32")
_TRAINING: dict[str, Any] = {
    "learning_rate": 1e-2,
    "batch_size": 16,
    "weight_decay": 0.01,
    "warmup_fraction": 0.1,
    "label_smoothing": 0.0,
    "train_embeddings": True,
    "max_grad_norm": 1.0,
}
BASELINE = BaselineSection(
    model="./base", hub_revision=None, max_length=16, epochs=8, evaluations_per_epoch=1, patience=9, **_TRAINING
)
PRUNE = prune_settings(
    criterion="gradient",
    repair="none",
    search_trials=0,
    vocabulary_min_count=0,
    structures=["heads", "ffn"],
    budget={"macs": 0.5},
    schedule={"shape": "linear", "steps": 2},
    calibration_rows=32,
    ffn_multiple=8,
    min_heads=1,
    min_neurons=8,
    max_drop=0.9,
    recovery={
        **_TRAINING,
        "epochs": 1,
        "distillation_weight": 0.5,
        "temperature": 2.0,
        "hidden_weight": 0.0,
        "best_by": "macro_f1",
    },
)
EVALUATE = EvaluateSection.model_validate(
    {
        "batch_size": 32,
        "bootstrap_samples": 100,
        "confidence_level": 0.9,
        "deployed": "torch",
        "reference": False,
        "robustness": {"rows": 0, "attacks": ["typos"], "words_per_text": 1, "num_candidates": 10},
        "latency": {"runtimes": ["torch"], "batch": 1, "length": 8, "num_threads": 1, "repeats": 3},
    }
)


TEXT_RULES = {
    "repair_encoding": True,
    "normalization": "NFC",
    "mask_handles": True,
    "mask_links": True,
    "max_chars": 100,
}


def write_inputs(root: Path) -> None:
    """Write the clean tables, the labels and a random pretrained encoder."""
    names = ["negative", "positive"]
    for seed, (table, count) in enumerate({"train": 96, "validation": 40, "test": 40}.items()):
        rows = sentences(count, seed=seed)
        columns = {"text": [text for text, _ in rows], "label": [names.index(label) for _, label in rows]}
        pq.write_table(pa.table({**columns, "row": list(range(count))}), root / f"{table}.parquet")
    write_json(root / "labels.json", names)
    write_json(root / "text_rules.json", TEXT_RULES)
    write_bert(root / "base")
    write_json(root / "base" / "provenance.json", {"kind": "file"})


def run_baseline(root: Path, *, settings: BaselineSection = BASELINE, run: RunSection = RUN) -> None:
    outputs = _fresh(root, {"tokens": "tokens", "model": "models/baseline", "history": "baseline.csv"})
    inputs = {name: root / f"{name}.parquet" for name in ("train", "validation")}
    inputs |= {name: root / f"{name}.json" for name in ("labels", "text_rules")} | {"base": root / "base"}
    job = Job("baseline", "key-of-baseline", inputs, outputs, parameters={"baseline.epochs": settings.epochs})
    baseline.run(job, run=run, baseline=settings)


def run_round(
    root: Path, name: str, prev: str, *, settings: PruneSettings = PRUNE, run: RunSection = RUN, **round_: Any
) -> None:
    outputs = _fresh(root, {"model": f"models/{name}", "history": f"{name}.csv"})
    inputs = {"tokens": root / "tokens", "dense": root / "models/baseline", "prev": root / f"models/{prev}"}
    inputs["validation"] = root / "validation.parquet"
    if (root / "latency_table.json").exists():
        inputs["latency_table"] = root / "latency_table.json"
    job = Job(f"prune@{name}", f"key-of-{name}", inputs, outputs, digests={"prev": "0123"})
    prune.run(job, run=run, prune=settings, round=Round(prev=prev, **round_))


def evaluate_job(root: Path, names: tuple[str, ...]) -> Job:
    outputs = {"metrics": "metrics.json", "details": "details.json", "predictions": "p.parquet", "plot": "quality.csv"}
    inputs = {"test": root / "test.parquet", "labels": root / "labels.json"}
    inputs |= {f"model.{name}": root / "models" / name for name in names}
    return Job("evaluate", "key", inputs, _fresh(root, outputs), effects={"latency": root / "latency.json"})


def run_evaluate(root: Path, *names: str, run: RunSection = RUN) -> None:
    evaluate.run(evaluate_job(root, names), run=run, evaluate=EVALUATE, max_length=16)


def _fresh(root: Path, outputs: dict[str, str]) -> dict[str, Path]:
    paths = {name: root / path for name, path in outputs.items()}
    for path in paths.values():
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths

"""Stage ``evaluate``: every model on the test rows, which nothing before it may read; and measured times."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import Tensor

from secateur.config.evaluate import EvaluateSection
from secateur.config.run import RunSection
from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.determinism import fix_randomness
from secateur.evaluation.comparison import Evaluated, details_of, metrics_of, write_plot, write_predictions
from secateur.evaluation.cost import cost_of
from secateur.evaluation.latency import bench
from secateur.evaluation.machine import describe_machine
from secateur.files import write_json
from secateur.models.card import read_card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.training.objectives import logits_of
from tasks.job import Job

_MODEL = "model."


def run(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: int) -> None:
    """Score the dense model and every round.

    Inputs are ``test`` (parquet), ``labels`` (JSON) and ``model.baseline``, ``model.r1``, ... Outputs are
    ``metrics`` and ``details`` (JSON), ``predictions`` (parquet) and ``plot`` (CSV).
    """
    fix_randomness(seed=run.seed, num_threads=run.num_threads)
    names: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    folders = _checkpoints(job)
    rows = _tokens(job.inputs["test"], model=folders["baseline"], max_length=max_length)
    models = _evaluated(folders, rows, run=run, evaluate=evaluate)
    dense = models["baseline"]
    metrics = {
        name: metrics_of(model, dense=dense, labels=rows.labels, settings=evaluate, seed=run.seed)
        for name, model in models.items()
    }
    texts = pq.read_table(job.inputs["test"], columns=["text"]).column("text").to_pylist()
    details = {name: details_of(model, labels=rows.labels, names=names, texts=texts) for name, model in models.items()}
    rounds = {name: entry for name, entry in metrics.items() if name != "baseline"}
    write_json(job.outputs["metrics"], {"baseline": metrics["baseline"], "rounds": rounds})
    described = {"labels": names, "test_rows": len(rows), "confidence_level": evaluate.confidence_level}
    write_json(job.outputs["details"], {**described, "models": details})
    write_predictions(job.outputs["predictions"], models, rows=rows.rows, labels=rows.labels)
    write_plot(job.outputs["plot"], metrics)


def measure(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: int) -> None:
    """Write the effect ``latency``, unless the file already describes these weights on this machine.

    The driver calls it with the arguments of ``run``; ``run`` and ``max_length`` do not matter here.
    """
    path = job.effects["latency"]
    folders = _checkpoints(job)
    described = {
        "settings": evaluate.latency.model_dump(mode="json"),
        "machine": describe_machine(),
        "weights": {name: read_card(folder)["weights_sha256"] for name, folder in folders.items()},
    }
    if _measured_before(path, described):
        return
    settings = evaluate.latency
    with tempfile.TemporaryDirectory() as workdir:
        results = bench(
            list(folders.values()),
            runtimes=settings.runtimes,
            batch=settings.batch,
            length=settings.length,
            num_threads=settings.num_threads,
            repeats=settings.repeats,
            workdir=Path(workdir),
        )
    by_folder = {str(folder): name for name, folder in folders.items()}
    rows = [
        {
            "checkpoint": by_folder[str(result.checkpoint)],
            "runtime": result.runtime,
            "median_ms": result.median_ms,
            "p95_ms": result.p95_ms,
            "speedup": result.speedup,
        }
        for result in results
    ]
    write_json(path, {**described, "results": rows})


def _checkpoints(job: Job) -> dict[str, Path]:
    """Return the folder of every model, the dense one first."""
    return {name.removeprefix(_MODEL): path for name, path in job.inputs.items() if name.startswith(_MODEL)}


def _tokens(table: Path, *, model: Path, max_length: int) -> TokenRows:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test.arrow"
        tokenize(table, tokenizer=load_tokenizer(model), max_length=max_length, out=file)
        return read_tokens(file)


def _evaluated(
    folders: Mapping[str, Path], rows: TokenRows, *, run: RunSection, evaluate: EvaluateSection
) -> dict[str, Evaluated]:
    known: dict[str, Tensor] = {}  # a round that was rolled back holds the weights of the one before it
    models = {}
    for name, folder in folders.items():
        card: dict[str, Any] = read_card(folder)
        model = load(folder)
        weights = card["weights_sha256"]
        if weights not in known:
            known[weights] = logits_of(model, rows, batch_size=evaluate.batch_size, precision=run.precision)
        models[name] = Evaluated(
            cost=cost_of(model),
            widths=card["widths"],
            dense_widths=card["dense_widths"],
            logits=known[weights],
            accepted=None if name == "baseline" else bool(card["accepted"]),
        )
    return models


def _measured_before(path: Path, described: Mapping[str, Any]) -> bool:
    """Tell whether the file holds a measurement of the same weights, settings and machine."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in described.items())

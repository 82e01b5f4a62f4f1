"""Stage ``evaluate``: every model on the test rows, which nothing before it may read; and measured times."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from secateur.config.baseline import MaxLength
from secateur.config.evaluate import EvaluateSection
from secateur.config.run import RunSection
from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.determinism import fix_randomness
from secateur.evaluation.against_reference import against_reference, verdict
from secateur.evaluation.comparison import Evaluated, details_of, metrics_of, write_plot, write_predictions
from secateur.evaluation.compression import stored_size
from secateur.evaluation.cost import cost_of
from secateur.evaluation.deployed import evaluate_deployed
from secateur.evaluation.latency import bench
from secateur.evaluation.machine import describe_machine
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.evaluation.reference import LabelledRows, score_classifier
from secateur.evaluation.robustness import robustness
from secateur.evaluation.runners import export_name
from secateur.evaluation.slices import descriptions_of, slices_of
from secateur.files import remove, write_json
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.models.folders import CONFIG, WEIGHTS
from secateur.progress import progress
from secateur.training.objectives import logits_of
from secateur.workflow import generation
from secateur.workflow.exports import exports_of
from secateur.workflow.job import Job
from secateur.workflow.tried import entries_of_rounds, models_of


def run(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: MaxLength) -> None:
    """Score the dense model and what every round tried: as PyTorch models, in the deployed form, and under attack.

    Inputs are ``test`` (parquet), ``labels`` (JSON) and ``model.baseline``, ``model.r1``, ..., and where they are
    needed ``train``, ``validation`` (parquet) and ``judge`` (a checkpoint). Outputs are ``metrics`` and ``details``
    (JSON), ``predictions`` (parquet) and ``plot`` (CSV). Generators are scored in ``secateur.workflow.generation``.
    """
    fix_randomness(seed=run.seed, num_threads=run.num_threads)
    if run.task == "generation":
        with exports_of(job) as exports:
            folders = models_of(job)
            generation.evaluate(job, folders, run=run, settings=evaluate, max_length=max_length, exports=exports)
        return
    names: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    texts = pq.read_table(job.inputs["test"], columns=["text"]).column("text").to_pylist()
    with exports_of(job) as exports:
        rows, models = _evaluated(
            models_of(job),
            table=job.inputs["test"],
            texts=texts,
            run=run,
            evaluate=evaluate,
            max_length=max_length,
            exports=exports,
        )
    dense = models["baseline"]
    metrics = {
        name: metrics_of(model, dense=dense, labels=rows.labels, settings=evaluate, seed=run.seed)
        for name, model in models.items()
    }
    slices = slices_of(texts)
    details = {
        name: details_of(model, dense=dense, labels=rows.labels, names=names, texts=texts, slices=slices)
        for name, model in models.items()
    }
    rounds = entries_of_rounds(job, metrics)
    test = LabelledRows(texts, rows.labels.tolist())
    reference, named = _reference(job, test, dense=dense, num_labels=len(names), settings=evaluate, seed=run.seed)
    write_json(job.outputs["metrics"], {"baseline": metrics["baseline"], "rounds": rounds, **reference})
    described = {
        **named,
        "labels": names,
        "test_rows": len(rows),
        "confidence_level": evaluate.confidence_level,
        "deployed": evaluate.deployed,
        "robustness": evaluate.robustness.model_dump(mode="json"),
        "slices": descriptions_of(texts),
    }
    write_json(job.outputs["details"], {**described, "models": details})
    write_predictions(job.outputs["predictions"], models, rows=rows.rows, labels=rows.labels)
    write_plot(job.outputs["plot"], metrics, scores=("macro_f1", "accuracy"))


def measure(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: MaxLength) -> None:
    """Write the effect ``latency``, unless the file already describes these weights on this machine.

    The effect ``exports``, where it is declared, is the folder of ONNX exports that ``run`` made and ``register``
    publishes; exports of other weights are removed from it.

    A generator's time is that of a token; its tokens per second stand beside it. The driver calls this with the
    arguments of ``run``; ``max_length`` does not matter here.
    """
    path = job.effects["latency"]
    folders = models_of(job)
    described = {
        "settings": evaluate.latency.model_dump(mode="json"),
        "machine": describe_machine(),
        "weights": {name: Card.read(folder).weights_sha256 for name, folder in folders.items()},
        **(_of_generators(evaluate) if run.task == "generation" else {}),
    }
    settings = evaluate.latency
    with exports_of(job) as workdir:
        _remove_other_exports(workdir, folders.values())
        if _measured_before(path, described):
            return
        results = bench(
            list(folders.values()),
            runtimes=settings.runtimes,
            batch=settings.batch,
            length=settings.length,
            num_threads=settings.num_threads,
            repeats=settings.repeats,
            workdir=workdir,
        )
        timed = generation.throughputs(folders, settings=evaluate, exports=workdir) if run.task == "generation" else {}
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
    write_json(path, {**described, "results": rows, **timed})


def _of_generators(evaluate: EvaluateSection) -> dict[str, Any]:
    return {"batches": list(evaluate.generation.batches), "deployed": evaluate.deployed}


def _reference(
    job: Job, test: LabelledRows, *, dense: Evaluated, num_labels: int, settings: EvaluateSection, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what metrics.json and details.json say of the simple classifier; nothing where it is not asked for."""
    if not settings.reference:
        return {}, {}
    train, validation = _labelled(job.inputs["train"]), _labelled(job.inputs["validation"])
    found = score_classifier(train, validation, test, num_labels=num_labels, settings=settings, seed=seed)
    labels = np.asarray(test.labels, np.int64)
    entry = found.metrics | against_reference(labels, model=dense.predicted, reference=found.predicted)
    score = macro_f1(confusion(labels, dense.predicted, num_labels=num_labels))
    said = verdict(found.name, entry, model="dense", macro_f1=float(score))
    return {"reference": entry}, {"reference": found.name, "reference_verdict": said}


def _labelled(table: Path) -> LabelledRows:
    columns = pq.read_table(table, columns=["text", "label"]).to_pydict()
    return LabelledRows(columns["text"], columns["label"])


def _evaluated(
    folders: Mapping[str, Path],
    *,
    table: Path,
    texts: Sequence[str],
    run: RunSection,
    evaluate: EvaluateSection,
    max_length: int,
    exports: Path,
) -> tuple[TokenRows, dict[str, Evaluated]]:
    """Return the rows as the last model reads them, and every model on its own tokens of them."""
    tokens: dict[tuple[str, ...], TokenRows] = {}
    models = {}
    steps = (3 if evaluate.robustness.rows else 2) * len(folders)
    with progress("evaluate", total=steps, note="baseline") as advance:
        for name, folder in folders.items():
            card = Card.read(folder)
            tokenizer = _tokenizer_digests(card)
            if tokenizer not in tokens:
                tokens[tokenizer] = _tokens(table, model=folder, max_length=max_length)
            found = _evaluate_one(
                folder,
                tokens[tokenizer],
                texts=texts,
                run=run,
                evaluate=evaluate,
                max_length=max_length,
                exports=exports,
                advance=partial(advance, name),
            )
            accepted = None if name == "baseline" else card.accepted
            described: dict[str, Any] = {"widths": card.widths, "dense_widths": card.dense_widths, "accepted": accepted}
            models[name] = replace(found, **described)
    return tokens[tokenizer], models


def _evaluate_one(
    folder: Path,
    rows: TokenRows,
    *,
    texts: Sequence[str],
    run: RunSection,
    evaluate: EvaluateSection,
    max_length: int,
    exports: Path,
    advance: Callable[[], object],
) -> Evaluated:
    """Score one model; its card is read by the caller. ``advance`` is called after each of the steps."""
    model = load(folder)
    attacked = None
    if evaluate.robustness.rows:
        attacked = robustness(
            model,
            load_tokenizer(folder),
            texts,
            rows.labels.tolist(),
            settings=evaluate.robustness,
            max_length=max_length,
            batch_size=evaluate.batch_size,
            precision=run.precision,
            seed=run.seed,
        )
        advance()
    logits = logits_of(model, rows, batch_size=evaluate.batch_size, precision=run.precision)
    advance()
    deployed = evaluate_deployed(
        folder,
        rows,
        runtime=evaluate.deployed,
        batch_size=evaluate.batch_size,
        num_threads=run.num_threads,
        workdir=exports,
    )
    advance()
    return Evaluated(
        cost=cost_of(model),
        stored=stored_size(model),
        widths={},
        dense_widths={},
        logits=logits,
        accepted=None,
        deployed=deployed,
        robustness=attacked,
    )


def _tokenizer_digests(card: Card) -> tuple[str, ...]:
    """Return the digests of the files of a checkpoint that are its tokenizer's."""
    return tuple(f"{name}:{digest}" for name, digest in sorted(card.files.items()) if name not in (WEIGHTS, CONFIG))


def _tokens(table: Path, *, model: Path, max_length: int) -> TokenRows:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test.arrow"
        tokenize(table, tokenizer=load_tokenizer(model), max_length=max_length, out=file)
        return read_tokens(file)


def _remove_other_exports(folder: Path, checkpoints: Iterable[Path]) -> None:
    """Keep the exports of today's checkpoints, and no others: each is as large as its checkpoint."""
    names = tuple(export_name(checkpoint) for checkpoint in checkpoints)
    for found in folder.iterdir():
        if not found.name.startswith(names):
            remove(found)


def _measured_before(path: Path, described: Mapping[str, Any]) -> bool:
    """Tell whether the file holds a measurement of the same weights, settings and machine."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in described.items())

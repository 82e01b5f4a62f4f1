"""Stage ``evaluate`` for classifiers: every model on the test rows, also in the deployed form and under attack."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from secateur.budget.cost import cost_of
from secateur.config.evaluate import EvaluateSection
from secateur.config.run import RunSection
from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.evaluation.against_simple_baseline import against_simple_baseline, verdict
from secateur.evaluation.comparison import Evaluated, details_of, metrics_of, write_plot, write_predictions
from secateur.evaluation.compression import stored_size
from secateur.evaluation.deployed import evaluate_deployed
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.evaluation.robustness import robustness
from secateur.evaluation.simple_baselines import LabelledRows, score_classifier
from secateur.evaluation.slices import descriptions_of, slices_of
from secateur.files import write_json
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.models.folders import CONFIG, WEIGHTS
from secateur.progress import progress
from secateur.training.objectives import logits_of
from secateur.workflow.job import Job
from secateur.workflow.tried import entries_of_rounds


def evaluate(
    job: Job, folders: Mapping[str, Path], *, run: RunSection, settings: EvaluateSection, max_length: int, exports: Path
) -> None:
    """Score the dense classifier and what every round tried: as PyTorch models, in the deployed form, under attack.

    Inputs and outputs are those of ``run`` in ``tasks/evaluate.py``.
    """
    names: list[str] = json.loads(job.inputs["labels"].read_text(encoding="utf-8"))
    texts = pq.read_table(job.inputs["test"], columns=["text"]).column("text").to_pylist()
    rows, models = _evaluated(
        folders,
        table=job.inputs["test"],
        texts=texts,
        run=run,
        evaluate=settings,
        max_length=max_length,
        exports=exports,
    )
    dense = models["baseline"]
    metrics = {
        name: metrics_of(model, dense=dense, labels=rows.labels, settings=settings, seed=run.seed)
        for name, model in models.items()
    }
    slices = slices_of(texts)
    details = {
        name: details_of(model, dense=dense, labels=rows.labels, names=names, texts=texts, slices=slices)
        for name, model in models.items()
    }
    rounds = entries_of_rounds(job, metrics)
    test = LabelledRows(texts, rows.labels.tolist())
    reference, named = _reference(job, test, dense=dense, num_labels=len(names), settings=settings, seed=run.seed)
    write_json(job.outputs["metrics"], {"baseline": metrics["baseline"], "rounds": rounds, **reference})
    described = {
        **named,
        "labels": names,
        "test_rows": len(rows),
        "confidence_level": settings.confidence_level,
        "deployed": settings.deployed,
        "robustness": settings.robustness.model_dump(mode="json"),
        "slices": descriptions_of(texts),
    }
    write_json(job.outputs["details"], {**described, "models": details})
    write_predictions(job.outputs["predictions"], models, rows=rows.rows, labels=rows.labels)
    write_plot(job.outputs["plot"], metrics, scores=("macro_f1", "accuracy"))


def _reference(
    job: Job, test: LabelledRows, *, dense: Evaluated, num_labels: int, settings: EvaluateSection, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what metrics.json and details.json say of the simple classifier; nothing where it is not asked for."""
    if not settings.reference:
        return {}, {}
    train, validation = _labelled(job.inputs["train"]), _labelled(job.inputs["validation"])
    found = score_classifier(train, validation, test, num_labels=num_labels, settings=settings, seed=seed)
    labels = np.asarray(test.labels, np.int64)
    entry = found.metrics | against_simple_baseline(labels, model=dense.predicted, reference=found.predicted)
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

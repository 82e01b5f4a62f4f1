"""The dense classifier and every round on the test rows: as PyTorch models, in the deployed form, and under attack."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from secateur.budget.cost import cost_of
from secateur.data.tokens import TokenRows, read_tokens, tokenize
from secateur.evaluation.against_simple_baseline import against_simple_baseline, verdict
from secateur.evaluation.comparison import Evaluated, details_of, metrics_of, predictions_of
from secateur.evaluation.compression import stored_size
from secateur.evaluation.deployed import evaluate_deployed
from secateur.evaluation.findings import Findings, Given
from secateur.evaluation.robustness import robustness
from secateur.evaluation.simple_baselines import LabelledRows, score_classifier
from secateur.evaluation.slices import descriptions_of, slices_of
from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.models.folders import CONFIG, WEIGHTS
from secateur.progress import progress
from secateur.statistics.f1 import macro_f1_of_rows
from secateur.training.objectives import logits_of


def evaluate_classifiers(given: Given, kind: Kind) -> Findings:
    """Score all of them; labels are one index per row, or of several 0 and 1 for each (``said``)."""
    settings, seed = given.settings, given.run.seed
    names: list[str] = json.loads(given.inputs["labels"].read_text(encoding="utf-8"))
    texts = pq.read_table(given.inputs["test"], columns=["text"]).column("text").to_pylist()
    rows, models = evaluated_models(given, texts, kind=kind)
    truth = rows.labels.astype(np.int64)
    dense = models["baseline"]
    metrics = {
        name: metrics_of(model, dense=dense, labels=truth, settings=settings, seed=seed)
        for name, model in models.items()
    }
    slices = slices_of(texts)
    details = {
        name: details_of(model, dense=dense, labels=truth, names=names, texts=texts, slices=slices)
        for name, model in models.items()
    }
    test = LabelledRows(texts, truth)
    simple, named = _simple(given, test, dense=dense, num_labels=len(names))
    described = {
        **named,
        **({} if kind.name == DEFAULT else {"task": kind.name}),
        "labels": names,
        "test_rows": len(rows),
        **rows.described(),
        "confidence_level": settings.confidence_level,
        "deployed": settings.deployed,
        "robustness": settings.robustness.model_dump(mode="json"),
        "slices": descriptions_of(texts),
    }
    return Findings(
        metrics=metrics,
        details={**described, "models": details},
        predictions=predictions_of(models, rows=rows.rows, labels=truth),
        plot=("macro_f1", "accuracy"),
        baseline=simple,
    )


def _simple(
    given: Given, test: LabelledRows, *, dense: Evaluated, num_labels: int
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return what metrics.json and details.json say of the simple classifier; nothing where it is not asked for."""
    if not given.settings.reference:
        return None, {}
    train, validation = _labelled(given.inputs["train"]), _labelled(given.inputs["validation"])
    found = score_classifier(
        train, validation, test, num_labels=num_labels, settings=given.settings, seed=given.run.seed
    )
    labels = np.asarray(test.labels, np.int64)
    entry = found.metrics | against_simple_baseline(labels, model=dense.predicted, reference=found.predicted)
    score = macro_f1_of_rows(labels, dense.predicted, num_labels=num_labels)
    said = verdict(found.name, entry, model="dense", macro_f1=score)
    return entry, {"reference": found.name, "reference_verdict": said}


def _labelled(table: Path) -> LabelledRows:
    columns = pq.read_table(table, columns=["text", "label"]).to_pydict()
    return LabelledRows(columns["text"], np.asarray(columns["label"], np.int64))


def evaluated_models(given: Given, texts: Sequence[str], *, kind: Kind) -> tuple[TokenRows, dict[str, Evaluated]]:
    """Return the rows as the last model reads them, and every model on its own tokens of them."""
    tokens: dict[tuple[str, ...], TokenRows] = {}
    models = {}
    steps = (3 if given.settings.robustness.rows else 2) * len(given.folders)
    with progress("evaluate", total=steps, note="baseline") as advance:
        for name, folder in given.folders.items():
            card = Card.read(folder)
            tokenizer = _tokenizer_digests(card)
            if tokenizer not in tokens:
                tokens[tokenizer] = _tokens(given, model=folder, kind=kind)
            found = _evaluate_one(
                given, folder, tokens[tokenizer], kind=kind, texts=texts, advance=partial(advance, name)
            )
            accepted = None if name == "baseline" else card.accepted
            described: dict[str, Any] = {"widths": card.widths, "dense_widths": card.dense_widths, "accepted": accepted}
            models[name] = replace(found, **described)
    return tokens[tokenizer], models


def _evaluate_one(
    given: Given, folder: Path, rows: TokenRows, *, kind: Kind, texts: Sequence[str], advance: Callable[[], object]
) -> Evaluated:
    """Score one model; its card is read by the caller. ``advance`` is called after each of the steps."""
    run, settings = given.run, given.settings
    model = load(folder).to(given.device)
    attacked = None
    if settings.robustness.rows:
        attacked = robustness(
            model,
            load_tokenizer(folder),
            texts,
            rows.labels.tolist(),
            settings=settings.robustness,
            max_length=given.max_length,
            batch_size=settings.batch_size,
            precision=run.precision,
            seed=run.seed,
        )
        advance()
    logits = logits_of(model, rows, batch_size=settings.batch_size, precision=run.precision)
    advance()
    deployed = evaluate_deployed(
        folder,
        rows,
        runtime=settings.deployed,
        batch_size=settings.batch_size,
        num_threads=run.num_threads,
        workdir=given.exports,
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
        kind=kind,
        robustness=attacked,
    )


def _tokenizer_digests(card: Card) -> tuple[str, ...]:
    """Return the digests of the files of a checkpoint that are its tokenizer's."""
    return tuple(f"{name}:{digest}" for name, digest in sorted(card.files.items()) if name not in (WEIGHTS, CONFIG))


def _tokens(given: Given, *, model: Path, kind: Kind) -> TokenRows:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test.arrow"
        tokenizer = load_tokenizer(model)
        tokenize(given.inputs["test"], tokenizer=tokenizer, max_length=given.max_length, out=file, kind=kind.name)
        return read_tokens(file)

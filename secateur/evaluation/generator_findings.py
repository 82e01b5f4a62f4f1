"""The dense generator and every round: perplexity on the test texts, and what they write."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from secateur.budget.cost import cost_of
from secateur.config.evaluate import EvaluateSection
from secateur.data.documents import TextRow, documents_of, read_texts
from secateur.evaluation.against_simple_baseline import verdict_on_texts
from secateur.evaluation.compression import stored_size
from secateur.evaluation.control import control_of, require_labels
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.findings import Findings, Given
from secateur.evaluation.generators import (
    EvaluatedGenerator,
    describe_texts,
    details_of,
    losses_table,
    metrics_of,
    real_texts,
    write_texts,
)
from secateur.evaluation.perplexity import document_losses
from secateur.evaluation.simple_baselines import GENERATOR, score_ngrams
from secateur.inference.language_model import TorchLanguageModel
from secateur.inference.prediction import Predictor
from secateur.inference.runners import exported_folder
from secateur.inference.throughput import throughput
from secateur.inference.writing import Writer
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.progress import progress


def evaluate_generators(given: Given) -> Findings:
    """Score all of them, and let them write.

    Raises:
        ConfigError: the judge does not know what the generators can be asked for.
    """
    inputs, folders = given.inputs, given.folders
    labels: list[str] = json.loads(inputs["labels"].read_text(encoding="utf-8"))
    rows = read_texts(inputs["test"], labels=labels)
    training = [row.text for row in read_texts(inputs["train"], labels=labels)]
    judge = Predictor.load(inputs["judge"]) if "judge" in inputs else None
    if judge is not None:
        require_labels(judge, list(Card.read(folders["baseline"]).control))
    models: dict[str, EvaluatedGenerator] = {}
    with progress("evaluate", total=len(folders), note="baseline") as advance:
        for name, folder in folders.items():
            card = Card.read(folder)
            found = _evaluate_one(given, folder, rows, training=training, judge=judge)
            accepted = None if name == "baseline" else card.accepted
            described: dict[str, Any] = {"widths": card.widths, "dense_widths": card.dense_widths}
            # A round with fewer words spells a text with more tokens; all are compared per token of the dense model.
            losses = replace(found.losses, tokens=next(iter(models.values()), found).losses.tokens)
            models[name] = replace(found, **described, accepted=accepted, losses=losses)
            advance(name)
    return _findings(given, models, rows=rows, training=training, judge=judge, labels=labels)


def throughputs(
    folders: Mapping[str, Path], *, settings: EvaluateSection, exports: Path
) -> dict[str, list[dict[str, Any]]]:
    """Return ``throughput`` of latency.json: tokens per second of every deployed model at every number of texts."""
    names = {folder: name for name, folder in folders.items()}
    timed = throughput(
        list(folders.values()),
        runtime=settings.deployed,
        batches=settings.generation.batches,
        length=settings.latency.length,
        num_threads=settings.latency.num_threads,
        repeats=max(3, settings.latency.repeats // settings.latency.length),  # about as many tokens as calls elsewhere
        workdir=exports,
    )
    return {
        "throughput": [
            {
                "checkpoint": names[entry.checkpoint],
                "batch": entry.batch,
                "tokens_per_second": entry.tokens_per_second,
                "speedup": entry.speedup,
            }
            for entry in timed
        ]
    }


def _evaluate_one(
    given: Given, folder: Path, rows: Sequence[TextRow], *, training: Sequence[str], judge: Predictor | None
) -> EvaluatedGenerator:
    """Score one model and let its deployed form, whose logits are the same, write; its card is read by the caller."""
    run, settings = given.run, given.settings
    model = load(folder).to(given.device)
    deployed = exported_folder(folder, runtime=settings.deployed, workdir=given.exports)
    writer = Writer.load(deployed, num_threads=run.num_threads)
    documents = documents_of(rows, writer.tokenizer, controls=writer.controls)
    losses = document_losses(
        TorchLanguageModel(model, precision=run.precision),
        documents,
        context=given.max_length,
        batch_size=settings.batch_size,
    )
    sampled, greedy = write_texts(writer, settings=settings.generation, seed=run.seed)
    control = None if judge is None else control_of(judge, sampled, level=settings.confidence_level)
    return EvaluatedGenerator(
        cost=cost_of(model),
        stored=stored_size(model),
        folder_bytes=folder_bytes(deployed),
        widths={},
        dense_widths={},
        losses=losses,
        accepted=None,
        texts=describe_texts(sampled, greedy, training=training, control=control),
    )


def _findings(
    given: Given,
    models: Mapping[str, EvaluatedGenerator],
    *,
    rows: Sequence[TextRow],
    training: Sequence[str],
    judge: Predictor | None,
    labels: Sequence[str],
) -> Findings:
    dense, settings, seed = models["baseline"], given.settings, given.run.seed
    tokenizer = load_tokenizer(given.folders["baseline"])
    texts = [row.text for row in rows]
    simple, named = None, {}
    if settings.reference:
        simple, losses = score_ngrams(training, texts=texts, tokenizer=tokenizer, settings=settings, seed=seed)
        said = verdict_on_texts(GENERATOR, losses, model=dense.losses, settings=settings, seed=seed)
        named = {"reference": GENERATOR, "reference_verdict": said}
    controls = list(Card.read(given.folders["baseline"]).control)
    details = {
        "task": given.run.task,
        "labels": labels,
        "controls": controls,
        "test_rows": len(rows),
        "confidence_level": settings.confidence_level,
        "deployed": settings.deployed,
        "generation": settings.generation.model_dump(mode="json"),
        "judge": None if judge is None else _judge(judge, rows),
        "real_texts": real_texts(
            texts, training, tokenizer=tokenizer, num_texts=len(dense.texts.sampled), settings=settings.generation
        ),
        "models": {name: details_of(model, settings=settings.generation) for name, model in models.items()},
        **named,
    }
    return Findings(
        metrics={name: metrics_of(model, dense=dense, settings=settings, seed=seed) for name, model in models.items()},
        details=details,
        predictions=losses_table(models, rows=rows),
        plot=("perplexity", "char_perplexity"),
        baseline=simple,
    )


def _judge(judge: Predictor, rows: Sequence[TextRow]) -> dict[str, float | int]:
    """Return how often the judge is right about real texts: more than that no generator can be expected to reach."""
    said = judge.predict([row.text for row in rows])
    hits = sum(found.label == row.label for found, row in zip(said, rows, strict=True))
    return {"accuracy": hits / len(rows), "chance": 1.0 / len({row.label for row in rows})}

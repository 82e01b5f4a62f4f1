"""What one round of ``prune`` needs of its job, and the checkpoint that it leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.budget.goal import Goal
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.config.prune import PruneSettings
from secateur.config.run import RunSection
from secateur.data.tokens import TokenRows
from secateur.determinism import fingerprint
from secateur.evaluation.robust_score import robust_score
from secateur.inference.device import find_device
from secateur.kinds.registry import kind_named
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.pruning.round import Outcome
from secateur.pruning.state_files import read_state, write_state
from secateur.pruning.training import DenseModel
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.pruning.vocabulary_check import Judge, allowed_drop
from secateur.training.objectives import logits_of
from secateur.training.prepared_rows import PreparedRows
from secateur.training.validation import validate
from secateur.workflow.job import Job
from secateur.workflow.tried import TRIED


def vocabulary_of(job: Job) -> Vocabulary:
    """Return the words that the dense model and the one before the round share."""
    return shared_vocabulary(load_tokenizer(job.inputs["dense"]), load_tokenizer(job.inputs["prev"]))


def judge_of(
    model: PreTrainedModel,
    prepared: PreparedRows,
    *,
    dense: Card,
    run: RunSection,
    prune: PruneSettings,
    promise: float | None,
) -> Judge:
    """Return what decides how many tokens may go."""

    def score(model: PreTrainedModel, rows: TokenRows) -> float:
        return validate(model, rows, batch_size=2 * prune.recovery.batch_size, precision=run.precision).quality

    measure = kind_named(run.task).measure
    return Judge(
        model=model,
        train=prepared.train,
        validation=prepared.validation,
        max_length=dense.require_max_length(),
        before=dense.metrics[f"validation_{measure.name}"],
        measure=measure,
        max_drop=allowed_drop(prune.vocabulary_max_drop, promise=promise),
        score=score,
    )


def dense_model_of(
    job: Job,
    model: PreTrainedModel,
    prepared: PreparedRows,
    vocabulary: Vocabulary,
    *,
    dense: Card,
    run: RunSection,
    prune: PruneSettings,
) -> DenseModel:
    """Return what the round is measured against: the dense model, its scores and logits, and measured prices."""
    judges = prune.budget.max_drop is not None and kind_named(run.task).judges_by_dense
    table = job.inputs.get("latency_table")
    shape = shape_of(model.config, hidden_size=prune.hidden_size)
    return DenseModel(
        model=model,
        quality=dense.metrics[f"validation_{kind_named(run.task).measure.name}"],
        logits=prepared.dense_logits,
        validation_logits=_logits_of(model, prepared.validation, run=run, prune=prune) if judges else None,
        table=None if table is None else LatencyTable.read_for(table, settings=prune.latency, shape=shape),
        token_ids=vocabulary.dense_ids,
        robust_score=_robust_score(job, model, vocabulary, dense=dense, run=run) if prune.max_robust_drop else None,
        class_weights=dense.parameters.get("baseline.class_weights", "none"),
    )


def _logits_of(model: PreTrainedModel, rows: TokenRows, *, run: RunSection, prune: PruneSettings) -> Tensor:
    return logits_of(model, rows, batch_size=2 * prune.recovery.batch_size, precision=run.precision)


def _robust_score(
    job: Job, dense_model: PreTrainedModel, vocabulary: Vocabulary, *, dense: Card, run: RunSection
) -> Callable[[PreTrainedModel], float]:
    """Return what scores a model under attack, on the validation texts, with the tokenizer that is its own."""
    rows = pq.read_table(job.inputs["validation"], columns=["text", "label"])
    texts, labels = rows.column("text").to_pylist(), rows.column("label").to_pylist()

    def score(model: PreTrainedModel) -> float:
        tokenizer: PreTrainedTokenizerBase = vocabulary.dense if model is dense_model else vocabulary.tokenizer
        return robust_score(
            model, tokenizer, texts, labels, run.seed, max_length=dense.require_max_length(), precision=run.precision
        )

    return score


def came_to(outcome: Outcome) -> dict[str, Any]:
    """Return what the card says of the model that a round ended with."""
    features = outcome.state.features
    return {
        "state": "recovered",
        "widths": widths_of(outcome.model).as_dict(),
        "kept": outcome.state.kept.as_dict(),
        "features": None if features is None else list(features),
        "achieved": outcome.achieved,
        "training": outcome.length.as_dict(),
        "metrics": outcome.metrics(),
        "accepted": outcome.accepted,
        "stopped": False,
        "reason": None,
        "tried": None,
    }


def save_tried(folder: Path, outcome: Outcome, vocabulary: Vocabulary, *, card: Card) -> None:
    """Keep a model that was not accepted, so that it can be scored, timed and looked at under its own numbers."""
    save(
        outcome.model.cpu(),
        vocabulary.tokenizer,
        folder / TRIED,
        card=card,
        check_reload=False,  # evaluate loads it; nobody is given it
        beside=lambda inner: write_state(inner, outcome.state),
    )


def save_unchanged(
    job: Job,
    *,
    run: RunSection,
    prune: PruneSettings,
    before: Card,
    goal: Goal,
    changes: dict[str, Any],
    tried: Callable[[Path], None] | None = None,
) -> None:
    """Write the checkpoint of the round before once more, with a card that says what happened.

    ``tried`` writes beside it what this round came to.
    """
    names = ("state", "widths", "kept", "features", "vocabulary", "achieved", "metrics")
    inherited = {name: getattr(before, name) for name in names}
    card = card_of(job, run=run, prune=prune, before=before, goal=goal).changed(
        **inherited, accepted=False, stopped=True, **changes
    )
    prev = job.inputs["prev"]
    model = load(prev)
    state = read_state(prev, model, card=before)

    def beside(folder: Path) -> None:
        write_state(folder, state)
        if tried is not None:
            tried(folder)

    save(model, load_tokenizer(prev), job.outputs["model"], card=card, check_reload=False, beside=beside)


def card_of(job: Job, *, run: RunSection, prune: PruneSettings, before: Card, goal: Goal) -> Card:
    """Return what every card of this stage says, whatever the round came to."""
    return Card(
        stage=job.stage,
        key=job.key,
        task=run.task,
        parameters=dict(job.parameters),
        inputs=dict(job.digests),
        seed=run.seed,
        fingerprint=fingerprint(constraints=job.constraints, device=find_device(run.device)),
        labels=before.labels,
        **before.given("control", "texts"),
        max_length=before.max_length,
        text_rules=before.text_rules,
        dense_widths=before.dense_widths,
        asked=goal.asked(prune.budget.kind),
        price=prune.budget.kind,
    )


def number_of(name: str) -> int:
    """Return 2 for ``r2``."""
    return int(name.removeprefix("r"))

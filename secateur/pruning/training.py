"""The two trainings of a round: under a regulariser before the cut, and the recovery after it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.budget.latency_table import LatencyTable
from secateur.config.base import ClassWeights, Section
from secateur.config.prune import Action, PruneSettings, Recovery
from secateur.config.run import Precision
from secateur.kinds.base import Kind
from secateur.kinds.registry import kind_named
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.selection import Calibration, Dense, calibrate, calibration_sample
from secateur.pruning.state import State, share_to_remove
from secateur.pruning.weights.application import choose_weights
from secateur.pruning.weights.zero_keeper import ZeroKeeper
from secateur.training.batches import ReadyBatches, Rows
from secateur.training.class_weights import class_weights
from secateur.training.hidden_states import layer_mapping
from secateur.training.lesson import Lesson
from secateur.training.loop import Constraint, Plan, Trained, train_
from secateur.training.schedule import Length
from secateur.training.validation import measure_of

_LOOKS = 4
"""Validation passes of a recovery that is to keep a promise, the one right after the cut not counted."""


@dataclass(frozen=True)
class DenseModel:
    """The dense model, as far as a round needs it.

    Attributes:
        model: budgets are fractions of its price; it teaches, and lends what is regrown. It is left as it is.
        quality: the score that decides, on the validation rows.
        logits: of the training rows, by position, (rows, C); None where the kind does not keep them.
        table: measured prices, for a budget of latency.
        validation_logits: of the validation rows, (rows, C), where a promise is judged by them too; None = it is not.
        token_ids: its id for every id of the pruned model, (V',) int64; None for the same vocabulary.
        robust_score: score of a model under attack; None when nobody asks.
        class_weights: how its loss weighed the labels; that of a recovery does the same.
    """

    model: PreTrainedModel
    quality: float
    logits: Tensor | None = None
    validation_logits: Tensor | None = None
    table: LatencyTable | None = None
    token_ids: Tensor | None = None
    robust_score: Callable[[PreTrainedModel], float] | None = None
    class_weights: ClassWeights = "none"

    @property
    def dense(self) -> Dense:
        """What budgets are fractions of."""
        return Dense(self.model.config, self.table)


@dataclass(frozen=True)
class Work:
    """What the steps of one round share.

    ``promise`` is the drop that a round may lose where that is its goal; then weights that keep it go before others.
    """

    train: Rows
    validation: Rows
    dense_model: DenseModel
    settings: PruneSettings
    recovery: Recovery
    action: Action
    target: float
    seed: int
    precision: Precision
    title: str
    promise: float | None = None

    @property
    def kind(self) -> Kind:
        """The kind of task that the model is for."""
        return kind_named(self.train.kind)

    @property
    def calibration(self) -> Calibration:
        """What the criterion sees."""
        rows = calibration_sample(self.train, num_rows=self.settings.calibration_rows, seed=self.seed)
        return Calibration(rows=rows, settings=self.settings, seed=self.seed, precision=self.precision)

    def plan(self, title: str, settings: Any, **options: Any) -> Plan:
        """Return a plan with the seed and the precision of the round."""
        return Plan(title=title, settings=settings, seed=self.seed, precision=self.precision, **options)


def num_labels(model: PreTrainedModel, rows: Rows) -> int:
    """Return how many labels a model tells apart; 0 where it tells none, or somebody's own loss says what it learns."""
    predicts = kind_named(rows.kind).predicts_labels and not isinstance(rows, ReadyBatches)
    return int(model.config.num_labels) if predicts else 0


def regularize_(model: PreTrainedModel, state: State, work: Work) -> None:
    """Train under a regulariser before the cut, in place."""
    shrinker, settings = work.settings.shrinker, work.settings.regularization
    if shrinker is None:
        return
    own = work.settings.of_shrinker[shrinker.name]
    if shrinker.on_all is not None:
        constraint = shrinker.on_all(model, training=settings, settings=own)
    else:
        constraint = _on_chosen(model, state, work, shrinker=shrinker, own=own)
    recovery = work.recovery.model_copy(update={"epochs": settings.epochs, "learning_rate": settings.learning_rate})
    train_(
        model,
        train=work.train,
        validation=work.validation,
        objective=work.kind.recovery(_lesson(work)),
        # The last weights are the ones that the regulariser has worked on longest.
        plan=work.plan(f"{work.title} {shrinker.name}", recovery, best_by="last"),
        constraint=_both(constraint, _zeros(model, state)),
    )


def _on_chosen(
    model: PreTrainedModel, state: State, work: Work, *, shrinker: Regularizer[Any], own: Section
) -> Constraint:
    """Return what acts on what will go: the choice comes before the training."""
    settings, calibration, acts = work.settings, work.calibration, shrinker.on_chosen
    assert acts is not None  # it acts on these where it does not act on all
    if settings.granularity == "weights":
        masks = choose_weights(
            model,
            rows=calibration.rows,
            sparsity=share_to_remove(model, target=work.target, dense=work.dense_model.dense),
            settings=settings,
            precision=work.precision,
            already=state.weights,
        )
        return acts.weights(model, training=settings.regularization, settings=own, chosen=masks)
    selector = calibrate(model, calibration, dense=work.dense_model.dense, kept=state.kept)
    # On a copy, because a choice may repair.
    chosen = selector.select_(copy.deepcopy(model), target=work.target)
    return acts.structures(model, training=settings.regularization, settings=own, chosen=chosen)


def recover_(model: PreTrainedModel, state: State, work: Work) -> Trained:
    """Train after the cut, in place, against the labels and the dense model."""
    recovery = work.recovery
    promised: dict[str, Any] = {}
    if work.promise is not None:
        floor = measure_of(work.validation).floor(work.dense_model.quality, max_drop=work.promise)
        length = Length.of(recovery, steps_per_epoch=ceil(len(work.train) / recovery.batch_size))
        promised = {"floor": floor, "evaluations_per_epoch": max(round(_LOOKS / max(length.epochs, 0.1)), 1)}
    plan = work.plan(
        work.title,
        recovery,
        evaluate_first=True,
        dense_logits=work.dense_model.validation_logits,
        best_by="loss" if recovery.best_by == "loss" else "quality",
        **promised,
    )
    return train_(
        model,
        train=work.train,
        validation=work.validation,
        objective=work.kind.recovery(_with_hidden_states(state, work)),
        plan=plan,
        constraint=_zeros(model, state),
    )


def _lesson(work: Work) -> Lesson:
    """Return what is learned from the labels and from what the dense model says."""
    recovery, dense_model = work.recovery, work.dense_model
    weights = None
    if not isinstance(work.train, ReadyBatches):
        labels = num_labels(dense_model.model, work.train)
        weights = class_weights(work.train.labels, dense_model.class_weights, num_labels=labels)
    return Lesson(
        teacher=dense_model.model,
        logits=dense_model.logits,
        weight=recovery.distillation_weight,
        temperature=recovery.temperature,
        label_smoothing=recovery.label_smoothing,
        precision=work.precision,
        token_ids=dense_model.token_ids,
        class_weights=weights,
    )


def _with_hidden_states(state: State, work: Work) -> Lesson:
    """Add the distance to the dense model's hidden states when its weight asks for it."""
    lesson, weight = _lesson(work), work.recovery.hidden_weight
    if weight == 0.0:
        return lesson
    return replace(
        lesson,
        hidden_weight=weight,
        layers=layer_mapping(state.kept.layers, num_layers=work.dense_model.dense.widths.num_layers),
        features=None if state.features is None else torch.tensor(state.features),
    )


def _zeros(model: PreTrainedModel, state: State) -> Constraint | None:
    """Hold removed weights at zero; suppressed ones are free to come back."""
    return None if state.weights is None else ZeroKeeper(model, state.weights)


@dataclass(frozen=True)
class _Both:
    first: Constraint
    second: Constraint

    def after_step_(self, *, learning_rate: float, progress: float) -> None:
        self.first.after_step_(learning_rate=learning_rate, progress=progress)
        self.second.after_step_(learning_rate=learning_rate, progress=progress)


def _both(first: Constraint | None, second: Constraint | None) -> Constraint | None:
    return _Both(first, second) if first is not None and second is not None else first or second

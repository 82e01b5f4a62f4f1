"""The two trainings of a round: under a regulariser before the cut, and the recovery after it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.prune import Action, PruneSettings, Recovery
from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.evaluation.latency_table import LatencyTable
from secateur.pruning.selection import Calibration, Dense, calibrate, calibration_sample
from secateur.pruning.state import State, share_to_remove
from secateur.pruning.weights.application import choose_weights
from secateur.pruning.weights.growing_decay import GrowingWeightDecay
from secateur.pruning.weights.zero_keeper import ZeroKeeper
from secateur.training.hidden_states import HiddenStates, layer_mapping
from secateur.training.loop import Constraint, Plan, Trained, train_
from secateur.training.objectives import Distillation, Objective
from secateur.training.regularizers import regularizer_for


@dataclass(frozen=True)
class Reference:
    """The dense model, as far as a round needs it.

    Attributes:
        model: budgets are fractions of its price; it teaches, and lends what is regrown. It is left as it is.
        macro_f1: on the validation rows.
        logits: of the training rows, by position, (rows, C).
        table: measured prices, for a budget of latency.
        token_ids: its id for every id of the pruned model, (V',) int64; None for the same vocabulary.
        robust_score: score of a model under attack; None when nobody asks.
    """

    model: PreTrainedModel
    macro_f1: float
    logits: Tensor
    table: LatencyTable | None = None
    token_ids: Tensor | None = None
    robust_score: Callable[[PreTrainedModel], float] | None = None

    @property
    def dense(self) -> Dense:
        """What budgets are fractions of."""
        return Dense(self.model.config, self.table)


@dataclass(frozen=True)
class Work:
    """What the steps of one round share."""

    train: TokenRows
    validation: TokenRows
    reference: Reference
    settings: PruneSettings
    recovery: Recovery
    action: Action
    target: float
    seed: int
    precision: Precision
    title: str

    @property
    def calibration(self) -> Calibration:
        """What the criterion sees."""
        rows = calibration_sample(self.train, num_rows=self.settings.calibration_rows, seed=self.seed)
        return Calibration(rows=rows, settings=self.settings, seed=self.seed, precision=self.precision)

    def plan(self, title: str, settings: Any, **options: Any) -> Plan:
        """Return a plan with the seed and the precision of the round."""
        return Plan(title=title, settings=settings, seed=self.seed, precision=self.precision, **options)


def regularize_(model: PreTrainedModel, state: State, work: Work) -> None:
    """Train under a regulariser before the cut, in place."""
    kind, settings = work.settings.trained_with, work.settings.regularization
    if kind == "none" or settings.epochs == 0:
        return
    if kind == "l2":
        constraint: Constraint | None = _growing_decay(model, state, work)
    else:
        constraint = regularizer_for(model, kind=kind, settings=settings, chosen=None)
    recovery = work.recovery.model_copy(update={"epochs": settings.epochs, "learning_rate": settings.learning_rate})
    train_(
        model,
        train=work.train,
        validation=work.validation,
        objective=_distillation(work),
        # The last weights are the ones that the regulariser has worked on longest.
        plan=work.plan(f"{work.title} {kind}", recovery, best_by="last"),
        constraint=_both(constraint, _zeros(model, state)),
    )


def _growing_decay(model: PreTrainedModel, state: State, work: Work) -> Constraint:
    """Return the penalty of ``l2``: it grows on what will go, so the choice comes before the training."""
    settings, calibration = work.settings, work.calibration
    if settings.granularity == "weights":
        masks = choose_weights(
            model,
            rows=calibration.rows,
            sparsity=share_to_remove(model, target=work.target, dense=work.reference.dense),
            settings=settings,
            precision=work.precision,
            already=state.weights,
        )
        return GrowingWeightDecay(model, masks, settings=settings.regularization)
    selector = calibrate(model, calibration, dense=work.reference.dense, kept=state.kept)
    # On a copy, because a choice may repair.
    chosen = selector.select_(copy.deepcopy(model), target=work.target)
    decay = regularizer_for(model, kind="l2", settings=settings.regularization, chosen=chosen)
    assert decay is not None  # only `none` has none
    return decay


def recover_(model: PreTrainedModel, state: State, work: Work) -> Trained:
    """Train after the cut, in place, against the labels and the dense model."""
    recovery = work.recovery
    objective: Objective = _distillation(work)
    if recovery.hidden_weight > 0.0:
        num_layers = work.reference.dense.widths.num_layers
        objective = HiddenStates(
            base=objective,
            teacher=work.reference.model,
            layers=layer_mapping(state.kept.layers, num_layers=num_layers),
            weight=recovery.hidden_weight,
            precision=work.precision,
            features=None if state.features is None else torch.tensor(state.features),
            token_ids=work.reference.token_ids,
        )
    plan = work.plan(
        work.title,
        recovery,
        evaluate_first=True,
        best_by=recovery.best_by,
        adversarial_epsilon=recovery.adversarial_epsilon,
    )
    return train_(
        model,
        train=work.train,
        validation=work.validation,
        objective=objective,
        plan=plan,
        constraint=_zeros(model, state),
    )


def _distillation(work: Work) -> Distillation:
    return Distillation(
        teacher_logits=work.reference.logits,
        weight=work.recovery.distillation_weight,
        temperature=work.recovery.temperature,
        label_smoothing=work.recovery.label_smoothing,
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

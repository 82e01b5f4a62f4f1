"""One round: score -> choose -> cut or suppress -> recover -> validate -> accept or roll back."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.config.prune import Action, PruneSettings, Recovery, Round
from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.errors import BudgetError, ConfigError
from secateur.evaluation.cost import amount_of, structure_costs
from secateur.evaluation.latency_table import LatencyTable
from secateur.models.families import family_of
from secateur.models.structures import Kept, Masks, Widths
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.places import reshape_
from secateur.pruning.prices import Prices
from secateur.pruning.regrowth import regrow
from secateur.pruning.selection import COST_LENGTH, Calibration, Dense, calibrate, calibration_sample
from secateur.pruning.suppression import suppress_
from secateur.pruning.weights.application import choose_weights, prune_weights_
from secateur.pruning.weights.growing_decay import GrowingWeightDecay
from secateur.pruning.weights.matrices import WeightMasks
from secateur.pruning.weights.zero_keeper import ZeroKeeper
from secateur.training.hidden_states import HiddenStates, layer_mapping
from secateur.training.history import HistoryRow
from secateur.training.loop import Constraint, Plan, Trained, train_
from secateur.training.objectives import Distillation, Objective
from secateur.training.regularizers import regularizer_for
from secateur.training.validation import Scores


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
class State:
    """What the weights alone do not tell about a model that earlier rounds have pruned.

    Attributes:
        kept: which units of the dense model it has.
        features: which features of the dense residual stream it has; None = all.
        suppressed: structures that are divided, False = suppressed; None = none.
        weights: single weights that are gone or divided; None = none.
    """

    kept: Kept
    features: tuple[int, ...] | None = None
    suppressed: Masks | None = None
    weights: WeightMasks | None = None

    @classmethod
    def dense(cls, widths: Widths) -> "State":
        """Return the state of a model that nothing was done to."""
        return cls(kept=Kept.all(widths))


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    Attributes:
        model: after recovery; another object than the given one when structures were regrown.
        state: what is to be known about it.
        accepted: the quality floor held.
        reason: why it was not accepted.
        achieved: fractions of dense, by kind of budget (``sparsity``: what is gone).
        scores: validation scores after recovery.
        robust: score under attack; None when nobody asked.
        history: the training curve; step 0 is the model right after the cut.
    """

    model: PreTrainedModel
    state: State
    accepted: bool
    reason: str | None
    achieved: dict[str, float]
    scores: Scores
    robust: float | None
    history: tuple[HistoryRow, ...]

    def tried(self) -> dict[str, Any]:
        """Return what was attempted, as it stands in a card."""
        return {"widths": widths_of(self.model).as_dict(), "achieved": self.achieved, "metrics": self.metrics()}

    def metrics(self) -> dict[str, float]:
        """Return the validation scores under the names that cards use."""
        return self.scores.as_metrics() | ({} if self.robust is None else {"validation_robust_macro_f1": self.robust})


@dataclass(frozen=True)
class _Work:
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
        rows = calibration_sample(self.train, num_rows=self.settings.calibration_rows, seed=self.seed)
        return Calibration(rows=rows, settings=self.settings, seed=self.seed, precision=self.precision)

    def plan(self, title: str, settings: Any, **options: Any) -> Plan:
        return Plan(title=title, settings=settings, seed=self.seed, precision=self.precision, **options)


def prune_(
    model: PreTrainedModel,
    *,
    train: TokenRows,
    validation: TokenRows,
    reference: Reference,
    target: float,
    settings: PruneSettings,
    round_: Round,
    seed: int,
    precision: Precision,
    title: str,
    state: State | None = None,
) -> Outcome:
    """Run one round on a model, which changes in place.

    Args:
        model: of the round before.
        train: rows to calibrate on and to learn from, in the order of ``reference.logits``.
        validation: rows that choose the weights to keep, and decide whether the round is accepted.
        reference: the dense model.
        target: fraction of dense that may stay, in the unit of ``settings.budget``.
        settings: what all rounds share.
        round_: what this one does differently.
        seed: of the calibration sample and of the order of the rows.
        precision: arithmetic of the matrix products.
        title: name of the round in logs.
        state: of the model; None for a dense one.

    Raises:
        BudgetError: the target is out of reach.
        ConfigError: multipliers name what is not there.
        ModelError: weights or gradients are not finite.
    """
    work = _Work(
        train=train,
        validation=validation,
        reference=reference,
        settings=settings,
        recovery=overridden(settings.recovery, round_),
        action=round_.action or settings.action,
        target=target,
        seed=seed,
        precision=precision,
        title=title,
    )
    _check_regrowth(work)
    before = State.dense(widths_of(model)) if state is None else state
    before = _reshaped(model, before, work)
    _regularize_(model, before, work)
    model, after = _pruned(model, before, work)
    trained = _recover_(model, after, work)
    robust = reference.robust_score(model) if reference.robust_score else None
    reason = below_floor(trained.best.macro_f1, dense=reference.macro_f1, max_drop=settings.max_drop)
    return Outcome(
        model=model,
        state=after,
        accepted=(reason := reason or _not_robust(robust, work)) is None,
        reason=reason,
        achieved=achieved_fractions(model, dense=reference.dense, state=after),
        scores=trained.best,
        robust=robust,
        history=trained.history,
    )


def _reshaped(model: PreTrainedModel, state: State, work: _Work) -> State:
    """Bring depth and hidden size to what is asked, when an earlier round has not done so."""
    layers, features = reshape_(
        model,
        work.calibration.rows,
        num_layers=work.settings.num_layers,
        hidden_size=work.settings.hidden_size,
        precision=work.precision,
    )
    if layers is not None:
        state = replace(state, kept=state.kept.after_dropping(layers), suppressed=None)
    if features is not None:
        known = state.features or range(len(features))
        state = replace(state, features=tuple(f for f, keep in zip(known, features.tolist(), strict=True) if keep))
    return state


def _regularize_(model: PreTrainedModel, state: State, work: _Work) -> None:
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


def _growing_decay(model: PreTrainedModel, state: State, work: _Work) -> Constraint:
    """Return the penalty of ``l2``: it grows on what will go, so the choice comes before the training."""
    settings, calibration = work.settings, work.calibration
    if settings.granularity == "weights":
        masks = choose_weights(
            model,
            rows=calibration.rows,
            sparsity=_sparsity(model, work),
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


def _pruned(model: PreTrainedModel, state: State, work: _Work) -> tuple[PreTrainedModel, State]:
    """Cut, suppress or zero what the criterion and the budget choose."""
    calibration, settings = work.calibration, work.settings
    if settings.granularity == "weights":
        masks = prune_weights_(
            model,
            rows=calibration.rows,
            sparsity=_sparsity(model, work),
            settings=settings.model_copy(update={"action": work.action}),
            precision=work.precision,
            already=state.weights,
        )
        return model, replace(state, weights=masks)
    returning = settings.regrow_fraction if work.action == "remove" else 0.0
    selector = calibrate(model, calibration, dense=work.reference.dense, kept=state.kept)
    # What comes back after the cut is cut beforehand.
    chosen = selector.select_(model, target=1.0 - (1.0 - work.target) / (1.0 - returning))
    if work.action == "suppress":
        suppress_(model, chosen, divisor=settings.suppress_divisor, already=state.suppressed)
        return model, replace(state, suppressed=chosen)
    cut_(model, chosen)
    kept = state.kept.after(chosen)
    if returning:
        model, kept = regrow(
            model,
            work.reference.model,
            kept=kept,
            batches=calibration.batches(model),
            fraction=returning,
            ffn_multiple=settings.ffn_multiple,
            precision=work.precision,
        )
    return model, replace(state, kept=kept, suppressed=None)


def _check_regrowth(work: _Work) -> None:
    """Refuse, before any compute, a return for which there is no room or no place."""
    returning, settings, config = work.settings.regrow_fraction, work.settings, work.reference.dense.config
    if returning == 0.0 or settings.granularity == "weights" or work.action == "suppress":
        return
    if work.target <= returning:
        raise BudgetError(
            f"prune.regrow_fraction={returning:g} brings back so much that more than {returning:g} of dense stays, "
            f"and a round is to leave {work.target:g}; ask for a regrow_fraction below {work.target:g}"
        )
    if settings.hidden_size is not None and settings.hidden_size < family_of(config).hidden_size(config):
        raise ConfigError(
            f"prune.regrow_fraction={returning:g} brings back dense structures, which do not fit into "
            f"prune.hidden_size={settings.hidden_size}; set one of the two to its default (0, null)"
        )


def _sparsity(model: PreTrainedModel, work: _Work) -> float:
    """Return the share of the weights that are there which must go; what left with layers and features counts."""
    config = work.reference.dense.config
    dense = _prices_of_weights(config).total(work.reference.dense.widths)
    current = _prices_of_weights(model.config).total(widths_of(model))
    return max(0.0, 1.0 - work.target * dense / max(current, 1))


def _recover_(model: PreTrainedModel, state: State, work: _Work) -> Trained:
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


def _distillation(work: _Work) -> Distillation:
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


def overridden(recovery: Recovery, round_: Round) -> Recovery:
    """Return the recovery settings of a round: its own values where it has any."""
    own = {name: value for name in ("epochs", "learning_rate") if (value := getattr(round_, name)) is not None}
    return recovery.model_copy(update=own)


def below_floor(macro_f1: float, *, dense: float, max_drop: float) -> str | None:
    """Return why a score violates the quality floor, or None when it does not."""
    floor = dense - max_drop
    if macro_f1 >= floor:
        return None
    return (
        f"validation macro-F1 {macro_f1:.4f} is below the floor of {floor:.4f} "
        f"(dense {dense:.4f} less prune.max_drop {max_drop:g})"
    )


def _not_robust(robust: float | None, work: _Work) -> str | None:
    allowed, score = work.settings.max_robust_drop, work.reference.robust_score
    if robust is None or allowed is None or score is None:
        return None
    dense = score(work.reference.model)
    if robust >= dense - allowed:
        return None
    return (
        f"macro-F1 under attack {robust:.4f} is below the floor of {dense - allowed:.4f} "
        f"(dense {dense:.4f} less prune.max_robust_drop {allowed:g})"
    )


def achieved_fractions(model: PreTrainedModel, *, dense: Dense, state: State | None = None) -> dict[str, float]:
    """Return what is left as fractions of dense, in every unit of a budget; ``sparsity`` is what is gone.

    Suppressed structures and weights count as gone in ``sparsity`` alone: they still take their time and space.
    """
    whole = amount_of(dense.config, length=COST_LENGTH)
    left = amount_of(model, length=COST_LENGTH)
    found = {"macs": left.macs / whole.macs, "params": left.params / whole.params}
    found["sparsity"] = 1.0 - _weights_left(model, state) / _prices_of_weights(dense.config).total(dense.widths)
    if dense.table is not None:
        found["latency"] = dense.table.predict(widths_of(model)) / dense.table.dense_ms
    return found


def _weights_left(model: PreTrainedModel, state: State | None) -> int:
    """Count the weights of the projections that are neither removed nor suppressed."""
    if state is not None and state.weights is not None:
        return state.weights.num_weights - state.weights.num_removed
    widths = widths_of(model)
    if state is not None and state.suppressed is not None:
        widths = state.suppressed.widths(widths.head_dim)
    return _prices_of_weights(model.config).total(widths)


def _prices_of_weights(config: PreTrainedConfig) -> Prices:
    return Prices.of(structure_costs(config, length=COST_LENGTH), "sparsity")

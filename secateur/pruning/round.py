"""One round: score -> choose -> cut -> recover -> validate -> accept or roll back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings, Recovery, Round
from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.evaluation.cost import structure_costs
from secateur.models.structures import Widths
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.allocation import Limits, Prices, achieved, choose
from secateur.pruning.criteria import CRITERIA
from secateur.training.batches import batches_of
from secateur.training.history import HistoryRow
from secateur.training.loop import Plan, train_
from secateur.training.objectives import Distillation, pad_token_id
from secateur.training.validation import Scores

COST_LENGTH = 32
"""Tokens per row for which MACs are counted; that of ``cost_of`` and of the published timings."""


@dataclass(frozen=True)
class Reference:
    """The dense model, as far as a round needs it.

    Attributes:
        widths: of the dense model; budgets are fractions of its price.
        macro_f1: on the validation rows.
        logits: of the training rows, by position, (rows, C).
    """

    widths: Widths
    macro_f1: float
    logits: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    Attributes:
        accepted: the quality floor held.
        reason: why it was not accepted.
        achieved: price as a fraction of dense, by kind of budget.
        widths: after the cut.
        scores: validation scores after recovery.
        history: the training curve; step 0 is the model right after the cut.
    """

    accepted: bool
    reason: str | None
    achieved: dict[str, float]
    widths: Widths
    scores: Scores
    history: tuple[HistoryRow, ...]

    def tried(self) -> dict[str, Any]:
        """Return what was attempted, as it stands in a card."""
        return {"widths": self.widths.as_dict(), "achieved": self.achieved, "metrics": self.scores.as_metrics()}


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
) -> Outcome:
    """Run one round on a model, in place; rolling back is up to the caller, who has the model before it.

    Args:
        model: changed in place: cut, recovered, in evaluation mode.
        train: rows for calibration and recovery.
        validation: rows that judge the round.
        reference: the dense model.
        target: fraction of dense that may stay.
        settings: the ``prune`` section.
        round_: what this round does differently.
        seed: of the calibration sample and of the order of the rows.
        precision: arithmetic of the matrix products.
        title: name of the round in logs.

    Raises:
        BudgetError: the target is out of reach.
    """
    cut_to_(
        model, train=train, dense=reference.widths, target=target, settings=settings, seed=seed, precision=precision
    )
    recovery = overridden(settings.recovery, round_)
    plan = Plan(title=title, settings=recovery, seed=seed, precision=precision, evaluate_first=True)
    objective = Distillation(
        teacher_logits=reference.logits,
        weight=recovery.distillation_weight,
        temperature=recovery.temperature,
        label_smoothing=recovery.label_smoothing,
    )
    trained = train_(model, train=train, validation=validation, objective=objective, plan=plan)
    reason = below_floor(trained.best.macro_f1, dense=reference.macro_f1, max_drop=settings.max_drop)
    return Outcome(
        accepted=reason is None,
        reason=reason,
        achieved=achieved_fractions(model, dense=reference.widths),
        widths=widths_of(model),
        scores=trained.best,
        history=trained.history,
    )


def cut_to_(
    model: PreTrainedModel,
    *,
    train: TokenRows,
    dense: Widths,
    target: float,
    settings: PruneSettings,
    seed: int,
    precision: Precision,
) -> None:
    """Score the structures and cut the least important ones, in place; no training.

    Raises:
        BudgetError: the target is out of reach.
    """
    sample = calibration_sample(train, num_rows=settings.calibration_rows, seed=seed)
    batches = batches_of(sample, batch_size=settings.recovery.batch_size, pad_token_id=pad_token_id(model))
    scores = CRITERIA[settings.criterion](model, batches, precision=precision)
    prices = Prices.of(structure_costs(model, length=COST_LENGTH), settings.budget.kind)
    masks = choose(scores, fraction=target, dense=dense, prices=prices, limits=Limits.of(settings))
    cut_(model, masks)


def calibration_sample(rows: TokenRows, *, num_rows: int, seed: int) -> TokenRows:
    """Draw rows without replacement; all of them when there are fewer."""
    if num_rows >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), size=num_rows, replace=False)
    return rows.take(np.sort(chosen))


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


def achieved_fractions(model: PreTrainedModel, *, dense: Widths) -> dict[str, float]:
    """Return the price of a model as a fraction of dense, in both units."""
    costs = structure_costs(model, length=COST_LENGTH)
    widths = widths_of(model)
    return {
        "macs": achieved(widths, dense=dense, prices=Prices.of(costs, "macs")),
        "params": achieved(widths, dense=dense, prices=Prices.of(costs, "params")),
    }

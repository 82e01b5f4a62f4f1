"""One round: score -> choose -> cut or suppress -> recover -> validate -> accept or roll back."""

from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from secateur.budget.goal import check_regrowth
from secateur.config.prune import PruneSettings, Recovery, Round
from secateur.config.run import Precision
from secateur.families import family_of
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.layers_and_features import reshape_
from secateur.pruning.regrowth import regrow
from secateur.pruning.selection import Selector, calibrate
from secateur.pruning.state import State, achieved_fractions, share_to_remove
from secateur.pruning.suppression import suppress_
from secateur.pruning.training import DenseModel, Work, num_labels, recover_, regularize_
from secateur.pruning.weights.application import prune_weights_
from secateur.quality import MACRO_F1, Measure
from secateur.training.batches import Rows
from secateur.training.history import Pass
from secateur.training.schedule import Length
from secateur.training.validation import Scores


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
        length: of the recovery.
    """

    model: PreTrainedModel
    state: State
    accepted: bool
    reason: str | None
    achieved: dict[str, float]
    scores: Scores
    robust: float | None
    history: tuple[Pass, ...]
    length: Length

    def tried(self) -> dict[str, Any]:
        """Return what was attempted, as it stands in a card."""
        return {
            "widths": widths_of(self.model).as_dict(),
            "achieved": self.achieved,
            "metrics": self.metrics(),
            "training": self.length.as_dict(),
        }

    def metrics(self) -> dict[str, float]:
        """Return the validation scores under the names that cards use."""
        return self.scores.as_metrics() | ({} if self.robust is None else {"validation_robust_macro_f1": self.robust})


def prune_(
    model: PreTrainedModel,
    *,
    train: Rows,
    validation: Rows,
    dense_model: DenseModel,
    target: float,
    settings: PruneSettings,
    round_: Round,
    seed: int,
    precision: Precision,
    title: str,
    state: State | None = None,
) -> Outcome:
    """Cut a model once, towards one target, and recover it; it changes in place. ``tries`` tries more than once.

    Args:
        model: of the round before.
        train: rows to calibrate on and to learn from, in the order of ``dense_model.logits``.
        validation: rows that choose the weights to keep, and decide whether the round is accepted.
        dense_model: the dense model.
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
    work = Work(
        train=train,
        validation=validation,
        dense_model=dense_model,
        settings=settings,
        recovery=overridden(
            settings.recovery.settled(rows=len(train), labels=num_labels(dense_model.model, train)), round_
        ),
        action=round_.action or settings.action,
        target=target,
        seed=seed,
        precision=precision,
        title=title,
    )
    return finish_(model, begin_(model, state, work), work)


@dataclass(frozen=True)
class Begun:
    """What is known of a model that is ready to be cut: reshaped, trained under its regulariser, calibrated.

    Attributes:
        state: of the model.
        selector: takes what stays for any target; None for single weights, which are chosen when they go.
    """

    state: State
    selector: Selector | None


def begin_(model: PreTrainedModel, state: State | None, work: Work) -> Begun:
    """Bring a model to where it can be cut, in place; only the regulariser ``l2`` asks for the target before that."""
    config = work.dense_model.dense.config
    check_regrowth(
        work.settings, target=work.target, action=work.action, hidden_size=family_of(config).hidden_size(config)
    )
    before = State.dense(widths_of(model)) if state is None else state
    before = _reshaped(model, before, work)
    regularize_(model, before, work)
    if work.settings.granularity == "weights":
        return Begun(before, None)
    return Begun(before, calibrate(model, work.calibration, dense=work.dense_model.dense, kept=before.kept))


def finish_(model: PreTrainedModel, begun: Begun, work: Work) -> Outcome:
    """Cut, recover and judge a model that was begun, or a copy of it, in place."""
    model, after = _pruned(model, begun, work)
    return recovered_(model, after, work)


def recovered_(model: PreTrainedModel, after: State, work: Work) -> Outcome:
    """Recover and judge a model that was cut, or made, in place."""
    trained = recover_(model, after, work)
    dense_model, settings, scores = work.dense_model, work.settings, trained.best
    robust = dense_model.robust_score(model) if dense_model.robust_score else None
    reason = below_floor(
        scores.judged,
        dense=dense_model.quality,
        max_drop=settings.max_drop if work.promise is None else work.promise,
        measure=scores.measure,
        asked="prune.max_drop" if work.promise is None else "the promise of",
        found="validation" if scores.likely is None else "likely validation",
    )
    reason = reason or _not_robust(robust, work)
    drop = scores.measure.drop(scores.judged, dense=dense_model.quality)
    return Outcome(
        model=model,
        state=after,
        accepted=reason is None,
        reason=reason,
        achieved=achieved_fractions(model, dense=dense_model.dense, state=after) | {"max_drop": drop},
        scores=scores,
        robust=robust,
        history=trained.history,
        length=trained.length,
    )


def _reshaped(model: PreTrainedModel, state: State, work: Work) -> State:
    """Bring depth and hidden size to what is asked, when an earlier round has not done so."""
    layers, features = reshape_(
        model,
        work.calibration.rows,
        num_layers=work.settings.num_layers,
        hidden_size=work.settings.hidden_size,
        precision=work.precision,
        rotate=work.recovery.hidden_weight == 0.0,
    )
    if layers is not None:
        state = replace(state, kept=state.kept.after_dropping(layers), suppressed=None)
    if features is not None:
        known = state.features or range(len(features))
        state = replace(state, features=tuple(f for f, keep in zip(known, features.tolist(), strict=True) if keep))
    return state


def _pruned(model: PreTrainedModel, begun: Begun, work: Work) -> tuple[PreTrainedModel, State]:
    """Cut, suppress or zero what the criterion and the budget choose."""
    calibration, settings, state, selector = work.calibration, work.settings, begun.state, begun.selector
    if selector is None:
        masks = prune_weights_(
            model,
            rows=calibration.rows,
            sparsity=share_to_remove(model, target=work.target, dense=work.dense_model.dense),
            settings=settings.model_copy(update={"action": work.action}),
            precision=work.precision,
            already=state.weights,
        )
        return model, replace(state, weights=masks)
    returning = settings.regrow_fraction if work.action == "remove" else 0.0
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
            work.dense_model.model,
            kept=kept,
            batches=calibration.batches(model),
            fraction=returning,
            ffn_multiple=settings.ffn_multiple,
            precision=work.precision,
        )
    return model, replace(state, kept=kept, suppressed=None)


def overridden(recovery: Recovery, round_: Round) -> Recovery:
    """Return the recovery settings of a round: its own values where it has any."""
    own = {name: value for name in ("epochs", "learning_rate") if (value := getattr(round_, name)) is not None}
    return recovery.model_copy(update=own)


def below_floor(
    quality: float,
    *,
    dense: float,
    max_drop: float,
    measure: Measure = MACRO_F1,
    asked: str = "prune.max_drop",
    found: str = "validation",
) -> str | None:
    """Return why a score violates the quality floor, or None when it does not.

    Args:
        quality: the score.
        dense: that of the dense model.
        max_drop: what may be lost.
        measure: what the score is.
        asked: names what set the floor.
        found: where the score comes from.
    """
    floor = measure.floor(dense, max_drop=max_drop)
    if measure.holds(quality, floor=floor):
        return None
    said = f"{found} {measure.title} {quality:.4f}"
    if measure.higher_is_better:
        return f"{said} is below the floor of {floor:.4f} (dense {dense:.4f} less {asked} {max_drop:g})"
    return f"{said} is above the limit of {floor:.4f} (dense {dense:.4f} and {asked} {max_drop:g} of it)"


def _not_robust(robust: float | None, work: Work) -> str | None:
    allowed, score = work.settings.max_robust_drop, work.dense_model.robust_score
    if robust is None or allowed is None or score is None:
        return None
    dense = score(work.dense_model.model)
    if robust >= dense - allowed:
        return None
    return (
        f"macro-F1 under attack {robust:.4f} is below the floor of {dense - allowed:.4f} "
        f"(dense {dense:.4f} less prune.max_robust_drop {allowed:g})"
    )

"""How the rounds approach the budget."""

from dataclasses import dataclass
from typing import assert_never

from secateur.config.prune import Action, BudgetKind, PruneSettings, Round, Schedule, ScheduleShape
from secateur.errors import BudgetError, ConfigError


def density_after(step: int, *, steps: int, final: float, shape: ScheduleShape) -> float:
    """Return the fraction of dense that may stay after a step of a schedule that starts at 1.

    * linear: the same share of dense goes in every step;
    * geometric: the same share of what is left goes in every step, ``final ** (step / steps)``;
    * cubic: sparsity ``s_f * (1 - (1 - step / steps) ** 3)`` (Zhu and Gupta 2017, equation 1): much goes early.

    Args:
        step: 1, 2, ...; from ``steps`` on the result is ``final``.
        steps: the step that meets the budget.
        final: the budget, in (0, 1].
        shape: see above.
    """
    progress = min(step / steps, 1.0)
    if progress == 1.0:
        return final  # exactly, whatever the rounding of the formulas below
    if shape == "linear":
        return 1.0 - (1.0 - final) * progress
    if shape == "geometric":
        return float(final**progress)
    if shape == "cubic":
        return 1.0 - (1.0 - final) * (1.0 - (1.0 - progress) ** 3)
    assert_never(shape)


def promise_after(step: int, *, steps: int, final: float, shape: ScheduleShape) -> float:
    """Return the drop that may be lost after a step of a schedule whose last one may lose ``final``.

    * linear and cubic: as what goes of a budget does, so linear adds the same in every step;
    * geometric: twice what the step before may lose, so 0.02 in three steps is 0.005, 0.01, 0.02.

    Args:
        step: 1, 2, ...; from ``steps`` on the result is ``final``.
        steps: the step that may lose all of it.
        final: the promise, in (0, 1].
        shape: see above.
    """
    if shape == "geometric":
        return float(final / 2.0 ** max(steps - step, 0))
    left = 1.0 - density_after(step, steps=steps, final=0.0, shape=shape)
    return final * left


@dataclass(frozen=True)
class Goal:
    """What one round is to reach: a fraction of dense, or a promise of quality; one of them is None.

    Attributes:
        target: fraction of dense that may stay, in the unit of the budget.
        max_drop: validation quality that may be lost, as ``Measure`` counts it.
    """

    target: float | None = None
    max_drop: float | None = None

    def asked(self, kind: BudgetKind) -> dict[str, float]:
        """Return what was asked for as it stands in a card: of sparsity, what goes."""
        if self.target is None:
            assert self.max_drop is not None  # one of the two is set
            return {"max_drop": self.max_drop}
        return {kind: 1.0 - self.target if kind == "sparsity" else self.target}


def goal_of(number: int, *, round_: Round, settings: PruneSettings) -> Goal:
    """Return what round ``number`` (1, 2, ...) is to reach; what it asks for itself goes first."""
    schedule, budget = settings.schedule, settings.budget
    if budget.max_drop is not None:
        own = round_.max_drop
        drop = promise_after(number, steps=schedule.steps, final=budget.max_drop, shape=schedule.shape)
        return Goal(max_drop=drop if own is None else own)
    if round_.student is not None and round_.max_drop is not None:  # it has one size, whatever is asked of cuts
        return Goal(max_drop=round_.max_drop)
    assert budget.fraction is not None  # a budget is the one or the other
    return Goal(target=target_of(number, round_=round_, schedule=schedule, final=budget.fraction))


def target_of(number: int, *, round_: Round, schedule: Schedule, final: float) -> float:
    """Return the fraction of dense that round ``number`` (1, 2, ...) may keep; its own budget goes first."""
    if round_.budget is not None:
        return round_.budget
    return density_after(number, steps=schedule.steps, final=final, shape=schedule.shape)


def check_regrowth(settings: PruneSettings, *, target: float, action: Action, hidden_size: int) -> None:
    """Refuse, before any compute, a return for which there is no room or no place.

    Args:
        settings: ``prune``.
        target: fraction of dense that the round is to leave.
        action: of the round.
        hidden_size: of the dense model.

    Raises:
        BudgetError: more comes back than may stay.
        ConfigError: what comes back does not fit into the cut stream.
    """
    returning = settings.regrow_fraction
    if returning == 0.0 or settings.granularity == "weights" or action == "suppress":
        return
    if target <= returning:
        raise BudgetError(
            f"prune.regrow_fraction={returning:g} brings back so much that more than {returning:g} of dense stays, "
            f"and a round is to leave {target:g}; ask for a regrow_fraction below {target:g}"
        )
    if settings.hidden_size is not None and settings.hidden_size < hidden_size:
        raise ConfigError(
            f"prune.regrow_fraction={returning:g} brings back dense structures, which do not fit into "
            f"prune.hidden_size={settings.hidden_size}; set one of the two to its default (0, null)"
        )


def nothing_to_choose_from(promise: float) -> BudgetError:
    """Say that a promise of quality leaves nothing to do, because nothing may go."""
    return BudgetError(
        f"a promise of max_drop={promise:g} has nothing to choose from: no structure may go, or none costs "
        "anything; smaller prune.min_heads and prune.min_neurons would work"
    )

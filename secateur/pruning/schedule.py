"""How the rounds approach the budget."""

from typing import assert_never

from secateur.config.prune import Round, Schedule, ScheduleShape


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


def target_of(number: int, *, round_: Round, schedule: Schedule, final: float) -> float:
    """Return the fraction of dense that round ``number`` (1, 2, ...) may keep; its own budget goes first."""
    if round_.budget is not None:
        return round_.budget
    return density_after(number, steps=schedule.steps, final=final, shape=schedule.shape)

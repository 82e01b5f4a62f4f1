"""A round that may try more than once: towards a fraction of dense, or as far as a promise of quality allows."""

import copy
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from secateur.budget.goal import Goal, nothing_to_choose_from
from secateur.budget.promise import Ladder, Seen, first_loss, fit_law, next_error, within_reach
from secateur.config.prune import PruneSettings, Round
from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.pruning.round import Begun, Outcome, begin_, finish_, overridden
from secateur.pruning.state import State, achieved_fractions
from secateur.pruning.student import taught_student
from secateur.pruning.training import DenseModel, Work, num_labels
from secateur.second_order.blocks import with_own_projections
from secateur.training.batches import Rows
from secateur.training.schedule import Length

_PROBE_SHARE, _PROBE_STEPS, _MOST_OF_IT = 0.15, 100, 0.5
"""Of a recovery, for a probe: this share, but no fewer steps (44 made a gentle cut worse), and half at the most."""
_GAIN = 0.7
"""What a whole recovery leaves of the drop after a probe, before any was seen."""
_CUT_DROPS = 4.0
"""A cut that loses so many promises before its recovery is where the first probe looks."""
_NEAR = (0.6, 1.7)
"""A probe whose drop is so many times what is looked for needs no second one."""


@dataclass(frozen=True)
class Probe:
    """A short recovery that was looked at and thrown away.

    Attributes:
        target: fraction of dense that was asked of the cut.
        error: of the cut, by the criterion's curve.
        epochs: of the recovery.
        loss: on the validation rows.
        score: the one that decides, there.
        drop: against dense, in the unit of the promise.
    """

    target: float
    error: float
    epochs: float
    loss: float
    score: float
    drop: float


@dataclass(frozen=True)
class RoundResult:
    """The outcome that counts, and everything that led to it.

    Attributes:
        outcome: the accepted one, or the gentlest that was tried.
        tries: every cut with its recovery as it stands in a card, in order.
        probes: every short one.
    """

    outcome: Outcome
    tries: tuple[dict[str, Any], ...]
    probes: tuple[Probe, ...]

    def as_card(self) -> dict[str, Any]:
        """Return what a card says about the way to the outcome."""
        return {"tries": list(self.tries), "probes": [asdict(probe) for probe in self.probes]}


def run_round(
    model: PreTrainedModel,
    *,
    train: Rows,
    validation: Rows,
    dense_model: DenseModel,
    goal: Goal,
    settings: PruneSettings,
    round_: Round,
    seed: int,
    precision: Precision,
    title: str,
    state: State | None = None,
) -> RoundResult:
    """Run one round: a cut that falls through its floor is followed by gentler ones, ``schedule.tries`` at the most.

    Towards a fraction of dense the first cut is that fraction, and each further one lies half way (in ratios) to the
    model before the round. Under a promise the first cut is the harshest that should keep it: the criterion's error
    curve is exact and cheap, a few short recoveries tell what an error costs in quality, and a power law is taken
    between them.

    Args:
        model: of the round before; left in an unknown state.
        train: as for ``prune_``, as all that are not explained.
        validation: see there.
        dense_model: see there.
        goal: a fraction or a promise.
        settings: see there.
        round_: see there.
        seed: see there; all tries share it, so that they differ by the cut alone.
        precision: see there.
        title: see there.
        state: see there.

    Raises:
        BudgetError: the fraction is out of reach.
        ConfigError, ModelError: as ``prune_``.
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
        target=1.0 if goal.target is None else goal.target,
        seed=seed,
        precision=precision,
        title=title,
        promise=goal.max_drop,
    )
    if round_.student is not None:
        return _taught(model, work, round_)
    tries = _Tries(model, state, work)
    return tries.towards(work.target) if goal.max_drop is None else tries.within(goal.max_drop)


def _taught(model: PreTrainedModel, work: Work, round_: Round) -> RoundResult:
    """Teach a student, which has one size and so one try."""
    outcome = taught_student(model, work, round_=round_)
    tried = {"target": None, "accepted": outcome.accepted, "reason": outcome.reason} | outcome.tried()
    return RoundResult(outcome, (tried,), ())


class _Tries:
    """The tries of one round: each starts from the same model, which is calibrated once."""

    def __init__(self, model: PreTrainedModel, state: State | None, work: Work) -> None:
        self._model = model
        self._state = state
        self._work = work
        shrinker = work.settings.shrinker
        # What drives down what will go must know the target.
        self._begins_anew = shrinker is not None and shrinker.on_chosen is not None
        self._begun: Begun | None = None
        self._tries: list[dict[str, Any]] = []
        self._probes: list[Probe] = []
        self._drops_of_cuts: dict[float, float] = {}

    def towards(self, target: float) -> RoundResult:
        """Ask for a fraction of dense, and for more of it while the floor does not hold."""
        outcome = self._full(target)
        held = self._share_before()
        while not outcome.accepted and self._tries_left() and target < 0.99 * held:
            target = math.sqrt(target * held)
            outcome = self._full(target)
        return self._result(outcome)

    def within(self, promise: float) -> RoundResult:
        """Look for the smallest fraction of dense that keeps a promise."""
        ladder = self._ladder()
        if not ladder.targets:
            raise nothing_to_choose_from(promise)
        noise = self._work.kind.noise(len(self._work.validation))
        error = self._probed(ladder, promise, noise=noise)
        fulls: list[Seen] = []
        while True:
            target = ladder.target_at(error)
            outcome = self._full(target)
            if outcome.accepted or not self._tries_left() or target >= ladder.targets[0]:
                return self._result(outcome)
            fulls.append(Seen(max(error, ladder.errors[0]), outcome.achieved["max_drop"]))
            seen = [Seen(probe.error, probe.drop) for probe in self._probes]
            error = next_error(seen, fulls, promise=promise, noise=noise, gain=_GAIN)

    def _probed(self, ladder: Ladder, promise: float, *, noise: float) -> float:
        """Return the error of the first whole try, after one probe or two."""
        if self._work.recovery.passes == 0.0:
            # The cut is all there is, so looking at it is as good as trying.
            place = first_loss(ladder, self._drop_of_cut, wanted=promise)
            breaks = self._drop_of_cut(ladder.targets[place]) > promise
            return ladder.errors[max(place - 1, 0) if breaks else place]
        wanted = promise / _GAIN
        error = ladder.errors[first_loss(ladder, self._drop_of_cut, wanted=_CUT_DROPS * promise)]
        drop = self._probe(ladder, error)
        if not _NEAR[0] * wanted <= drop <= _NEAR[1] * wanted:
            seen = [Seen(error, drop)]
            further = within_reach(fit_law(seen, noise=noise).error_for(wanted), seen)
            self._probe(ladder, further)
        seen = [Seen(probe.error, probe.drop) for probe in self._probes]
        return next_error(seen, [], promise=promise, noise=noise, gain=_GAIN)

    def _probe(self, ladder: Ladder, error: float) -> float:
        target = ladder.target_at(error)
        outcome = self._at(target, share=self._probe_share())
        drop = outcome.achieved["max_drop"]
        error = min(max(error, ladder.errors[0]), ladder.errors[-1])
        scores = outcome.scores
        self._probes.append(Probe(target, error, outcome.length.epochs, scores.loss, scores.quality, drop))
        return drop

    def _probe_share(self) -> float:
        recovery = self._work.recovery
        steps = Length.of(recovery, steps_per_epoch=math.ceil(len(self._work.train) / recovery.batch_size)).steps
        return min(max(_PROBE_SHARE, _PROBE_STEPS / max(steps, 1)), _MOST_OF_IT)

    def _drop_of_cut(self, target: float) -> float:
        if target not in self._drops_of_cuts:
            self._drops_of_cuts[target] = self._at(target, share=0.0).achieved["max_drop"]
        return self._drops_of_cuts[target]

    def _full(self, target: float) -> Outcome:
        """Try one target for good, and note it."""
        work = replace(self._work, target=target)
        if not self._tries and work.settings.schedule.tries == 1 and work.promise is None:
            begun, model = begin_(self._model, self._state, work), self._model
        else:
            begun, model = self._begin(work)
        outcome = finish_(model, begun, work)
        self._tries.append({"target": target, "accepted": outcome.accepted, "reason": outcome.reason} | outcome.tried())
        return outcome

    def _at(self, target: float, *, share: float) -> Outcome:
        """Look at one target after a share of the recovery."""
        whole = self._work.recovery
        # The floor under the steps shrinks with it: otherwise a probe of few rows would be a whole recovery.
        shorter = {"epochs": share * whole.passes, "min_steps": round(share * whole.least_steps)}
        recovery = whole.model_copy(update=shorter)
        dense_model = replace(self._work.dense_model, robust_score=None)
        title = f"{self._work.title}: probe at {target:.2f}"
        work = replace(self._work, target=target, recovery=recovery, dense_model=dense_model, promise=None, title=title)
        begun, model = self._begin(work)
        return finish_(model, begun, work)

    def _begin(self, work: Work) -> tuple[Begun, PreTrainedModel]:
        """Return what is known of the model, and a copy of it that may be cut."""
        if self._begins_anew:
            model = copy.deepcopy(self._model)
            return begin_(model, self._state, work), model
        if self._begun is None:
            self._begun = begin_(self._model, self._state, work)
        return self._begun, self._copied(work)

    def _copied(self, work: Work) -> PreTrainedModel:
        """Return a copy of the model that may be cut: where the cut is all there is, it writes projections alone."""
        settings = work.settings
        cuts = settings.granularity == "structures" and work.action == "remove" and settings.regrow_fraction == 0.0
        trains = work.recovery.passes != 0.0 or not isinstance(work.train, TokenRows) or work.train.units is not None
        return with_own_projections(self._model) if cuts and not trains else copy.deepcopy(self._model)

    def _ladder(self) -> Ladder:
        begun, model = self._begin(self._work)
        assert begun.selector is not None  # single weights have budgets of sparsity
        curve = begun.selector.curve(model)
        # What comes back after the cut is cut beforehand, as ``finish_`` does it.
        returning = self._work.settings.regrow_fraction if self._work.action == "remove" else 0.0
        smallest = 1.0 - (1.0 - curve.smallest) * (1.0 - returning)
        return Ladder.of(curve.error, smallest=smallest, largest=curve.largest)

    def _share_before(self) -> float:
        """Return what the model before the round has left of dense, in the unit of the budget."""
        kind = self._work.settings.budget.kind
        state = self._state if self._begun is None else self._begun.state
        found = achieved_fractions(self._model, dense=self._work.dense_model.dense, state=state)[kind]
        return 1.0 - found if kind == "sparsity" else found

    def _tries_left(self) -> bool:
        return len(self._tries) < self._work.settings.schedule.tries

    def _result(self, outcome: Outcome) -> RoundResult:
        return RoundResult(outcome, tuple(self._tries), tuple(self._probes))

"""The tries of a round, with fakes in the place of cutting and training."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from secateur.budget.goal import Goal
from secateur.config.prune import Budget, Round
from secateur.errors import BudgetError
from secateur.models.surgery import widths_of
from secateur.pruning import tries
from secateur.pruning.round import Begun, Outcome, below_floor
from secateur.pruning.state import State
from secateur.pruning.training import DenseModel, Work
from secateur.quality import MACRO_F1
from secateur.training.schedule import Length
from secateur.training.validation import Scores
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

DENSE = 0.8
TRAIN = tiny_rows(24_000)
"""750 steps of 32 rows: enough that a share of them is a probe."""
Ran = tuple[tries.RoundResult, list[tuple[float, float]]]
Drop = Callable[[float, float], float]
"""(target, epochs) -> what is lost."""


def curve(target: float) -> float:
    return 0.02 * (1.0 / target - 1.0) ** 1.5


def recovered(target: float, epochs: float) -> float:
    """Lose a power of the error, the less the longer the recovery."""
    return 0.25 * curve(target) ** 0.7 / (1.0 + 2.0 * epochs)


class Curve:
    error = staticmethod(curve)
    smallest, largest = 0.05, 1.0


class Selector:
    def select_(self, model: Any, *, target: float) -> Any:
        raise AssertionError("the fake of finish_ chooses nothing")

    def curve(self, model: Any) -> Curve:
        return Curve()


@pytest.fixture
def floors() -> list[tuple[float, int]]:
    """Epochs and the floor of steps of every recovery."""
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, floors: list[tuple[float, int]]) -> Callable[..., Ran]:
    """Run a round whose drops a function gives; return the result, and targets and epochs of all it looked at."""
    looked: list[tuple[float, float]] = []
    begun: list[float] = []

    def run_(
        drop: Drop, goal: Goal, rows: int = len(TRAIN), **changes: Any
    ) -> tuple[tries.RoundResult, list[tuple[float, float]]]:
        looked.clear()
        begun.clear()

        def begin_(model: Any, state: Any, work: Work) -> Begun:
            begun.append(work.target)
            return Begun(State.dense(widths_of(model)), Selector())

        def finish_(model: Any, begun: Begun, work: Work) -> Outcome:
            looked.append((work.target, work.recovery.epochs))
            floors.append((work.recovery.epochs, work.recovery.min_steps))
            lost = drop(work.target, work.recovery.epochs)
            allowed = work.settings.max_drop if work.promise is None else work.promise
            reason = below_floor(DENSE - lost, dense=DENSE, max_drop=allowed)
            scores = Scores(MACRO_F1, loss=0.5 + lost, values={"macro_f1": DENSE - lost})
            achieved = {"macs": work.target, "max_drop": lost}
            epochs = work.recovery.epochs
            length = Length(epochs, work.recovery.min_steps, epochs, round(100 * epochs))
            return Outcome(model, begun.state, reason is None, reason, achieved, scores, None, (), length)

        monkeypatch.setattr(tries, "begin_", begin_)
        monkeypatch.setattr(tries, "finish_", finish_)
        budget = {"max_drop": goal.max_drop, "price": "macs"} if goal.target is None else {"macs": goal.target}
        settings = prune_settings(**{"budget": Budget(**budget), **changes})
        model = tiny_model()
        result = tries.run_round(
            model,
            train=TRAIN.take(range(rows)),
            validation=tiny_rows(1500),
            dense_model=DenseModel(model=model, quality=DENSE),
            goal=goal,
            settings=settings,
            round_=Round(prev="baseline"),
            seed=0,
            precision="fp32",
            title="r1",
        )
        assert len(begun) == 1, "calibrated once"
        return result, looked

    return run_


@pytest.mark.parametrize("promise", [0.005, 0.01, 0.02])
def test_a_promise_is_kept_by_the_first_whole_try_near_the_harshest_that_would(run: Any, promise: float):
    result, looked = run(recovered, Goal(max_drop=promise))
    assert result.outcome.accepted
    assert len(result.tries) == 1
    assert 1 <= len(result.probes) <= 2
    harshest = min(t for t in np.linspace(0.05, 1, 500) if recovered(t, 1.0) <= promise)
    target = result.tries[0]["target"]
    assert harshest <= target <= 2.0 * harshest
    trained = [epochs for _, epochs in looked if epochs > 0]
    assert sum(trained) <= 1.31, "a whole recovery and two probes"
    assert len(looked) - len(trained) <= 5


def test_a_floor_of_steps_holds_for_the_whole_recovery_and_not_for_its_probes(
    run: Any, floors: list[tuple[float, int]]
):
    recovery = prune_settings().recovery.model_copy(update={"epochs": 1.0, "min_steps": 200})
    result, _ = run(recovered, Goal(max_drop=0.01), recovery=recovery)
    assert [entry["training"]["min_steps"] for entry in result.tries] == [200]
    assert {floor for _, floor in floors} == {0, 30, 200}


@pytest.mark.parametrize(("rows", "share"), [(24_000, 0.15), (6_400, 0.5), (9_600, 1 / 3), (320, 0.5)])
def test_a_probe_has_steps_enough_to_say_something(run: Any, rows: int, share: float):
    """Few steps at the full rate make a gentle cut worse, which says nothing of a whole recovery."""
    recovery = prune_settings().recovery.model_copy(update={"epochs": 1.0, "min_steps": 0})
    result, _ = run(recovered, Goal(max_drop=0.01), rows=rows, recovery=recovery)
    assert [probe.epochs for probe in result.probes] == [pytest.approx(share)] * len(result.probes)
    assert result.probes


def test_what_was_probed_and_tried_is_told(run: Any):
    result, _ = run(recovered, Goal(max_drop=0.01))
    card = result.as_card()
    for probe in card["probes"]:
        assert probe["error"] == pytest.approx(curve(probe["target"]), rel=0.02)
        assert probe["drop"] == pytest.approx(recovered(probe["target"], probe["epochs"]))
        assert probe["score"] == pytest.approx(DENSE - probe["drop"])
    assert card["tries"][0]["accepted"] is True
    assert card["tries"][0]["reason"] is None
    assert card["tries"][0]["metrics"]["validation_macro_f1"] == result.outcome.scores.quality


@pytest.mark.parametrize("seed", range(8))
def test_noise_costs_tries_and_not_the_promise(run: Any, seed: int):
    draw = np.random.default_rng(seed)
    result, _ = run(lambda target, epochs: recovered(target, epochs) + 0.004 * draw.normal(), Goal(max_drop=0.01))
    assert 1 <= len(result.tries) <= 3
    if result.outcome.accepted:
        assert result.outcome.achieved["max_drop"] <= 0.01
        assert [entry["accepted"] for entry in result.tries] == [False] * (len(result.tries) - 1) + [True]
    targets = [entry["target"] for entry in result.tries]
    assert targets == sorted(targets), "each try is gentler than the one before"


def test_a_promise_that_nothing_keeps_ends_with_the_gentlest_cut(run: Any):
    result, _ = run(lambda target, epochs: 0.05 + recovered(target, epochs), Goal(max_drop=0.005))
    assert not result.outcome.accepted
    assert [entry["target"] for entry in result.tries] == [pytest.approx(1.0, abs=0.15)], "there is no gentler one"


def test_a_promise_that_whole_recoveries_break_ends_with_the_gentlest_of_the_tries(run: Any):
    result, _ = run(lambda target, epochs: 0.05 if epochs == 1.0 else recovered(target, epochs), Goal(max_drop=0.005))
    assert not result.outcome.accepted
    assert len(result.tries) == 3
    assert "below the floor of 0.7950" in str(result.outcome.reason)
    assert result.tries[-1]["target"] == max(entry["target"] for entry in result.tries)
    assert result.outcome.achieved["macs"] == result.tries[-1]["target"]


def test_a_promise_that_everything_keeps_leads_to_the_smallest_model(run: Any):
    result, _ = run(lambda target, epochs: -0.01, Goal(max_drop=0.005))
    assert result.outcome.accepted
    assert result.tries[0]["target"] == pytest.approx(0.05)


def test_without_a_recovery_the_cut_decides(run: Any):
    recovery = prune_settings().recovery.model_copy(update={"epochs": 0.0})
    result, looked = run(lambda target, _: curve(target), Goal(max_drop=0.01), recovery=recovery)
    assert result.outcome.accepted
    assert not result.probes
    assert all(epochs == 0.0 for _, epochs in looked)
    assert 0.005 <= result.outcome.achieved["max_drop"] <= 0.01


def test_two_runs_look_at_the_same(run: Any):
    first, looked = run(recovered, Goal(max_drop=0.01))
    before = list(looked)
    again, looked = run(recovered, Goal(max_drop=0.01))
    assert (looked, again.as_card()) == (before, first.as_card())


def test_a_fraction_that_holds_is_tried_once(run: Any):
    result, looked = run(recovered, Goal(target=0.4))
    assert result.outcome.accepted
    assert [target for target, _ in looked] == [0.4]
    assert not result.probes


def test_a_fraction_that_falls_through_its_floor_is_tried_gentler(run: Any):
    """Version 0.3.0 rolled back at once."""
    result, looked = run(lambda target, _: 0.05 if target < 0.3 else 0.0, Goal(target=0.14))
    assert result.outcome.accepted
    assert [target for target, _ in looked] == [0.14, pytest.approx(math.sqrt(0.14))]
    assert [entry["accepted"] for entry in result.tries] == [False, True]
    assert result.outcome.achieved["macs"] == pytest.approx(math.sqrt(0.14))


def test_the_number_of_tries_is_bounded(run: Any):
    schedule = prune_settings().schedule
    for bound in (1, 2, 4):
        changed = schedule.model_copy(update={"tries": bound})
        result, looked = run(lambda *_: 0.5, Goal(target=0.14), schedule=changed)
        assert not result.outcome.accepted
        assert len(looked) == len(result.tries) == bound
        assert looked[-1][0] == max(looked)[0]


def test_nothing_to_choose_from_is_said(run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Curve, "smallest", 1.0)
    with pytest.raises(BudgetError, match=r"a promise of max_drop=0\.01 has nothing to choose from"):
        run(recovered, Goal(max_drop=0.01))

"""Every stage in order, as far as it is stale; who calls a stage, and what is recorded of it, the caller decides."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from secateur.config.schema import RunConfig
from secateur.workflow import latency_table
from secateur.workflow.driver import bring_up_to_date
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.elsewhere import executing
from secateur.workflow.execution import Execute, execute, has_effects
from secateur.workflow.outcome import Outcome
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stage import Stage
from secateur.workflow.stages import stages

Watcher = Callable[[str, Outcome | None], None]
"""Told the address of a stage before it starts (None) and after it ended."""


@dataclass(frozen=True)
class Call:
    """What a stage is asked for.

    Attributes:
        stage: which.
        key: digest of everything that decides its result.
        effects_outdated: what is never compared shows something that has changed.
        fresh: DVC finds nothing to do.
        run: runs its body, here or on a worker.
    """

    stage: Stage
    key: str
    effects_outdated: bool
    fresh: bool
    run: Execute = execute


def bring_all_up_to_date(
    project: Project, *, bring: Callable[[Call], Outcome], watch: Watcher | None = None, until: str | None = None
) -> list[Outcome]:
    """Bring one stage after the other up to date.

    Args:
        project: held exclusively by the caller.
        bring: does what ``plainly`` does, and may record it.
        watch: told about progress.
        until: address of the last stage; None goes through all.
    """
    config = read_config(project)
    store = DvcStore(project)
    outcomes: list[Outcome] = []
    ordered = _in_order(project, config, store)
    with executing(project, config) as elsewhere:
        for number, stage in enumerate(ordered):
            if stage.name == "prune":
                latency_table.ensure(project, config)  # a model from a hub has no shape before ingest
            if watch:
                watch(stage.address, None)
            call = _call(project, store, stage, outcomes)
            if elsewhere is not None:
                elsewhere.start(store, ordered[number:])
                call = replace(call, run=elsewhere.execute)
            outcome = bring(call)
            outcomes.append(replace(outcome, action="cached", seconds=0.0) if call.fresh else outcome)
            if watch:
                watch(stage.address, outcomes[-1])
            if stage.address == until:
                break
    return outcomes


def plainly(project: Project) -> Callable[[Call], Outcome]:
    """Return what calls a stage and records nothing beyond DVC's own."""

    def bring(call: Call) -> Outcome:
        config, store = read_config(project), DvcStore(project)
        return bring_up_to_date(
            project, store, config, call.stage, effects_outdated=call.effects_outdated, run=call.run
        )

    return bring


def _in_order(project: Project, config: RunConfig, store: DvcStore) -> list[Stage]:
    """Return the stages in DVC's order, so that dvc.lock comes out the same under both drivers."""
    known = {stage.address: stage for stage in stages(config, project.root)}
    return [known[address] for address in store.order()]


def _call(project: Project, store: DvcStore, stage: Stage, before: list[Outcome]) -> Call:
    rewritten = {outcome.stage for outcome in before if outcome.action in ("run", "measured")}
    effects_outdated = bool(stage.effect_inputs) and bool({"evaluate", "register"} & rewritten - {stage.address})
    fresh = not store.status(stage.address).changed and has_effects(project, stage) and not effects_outdated
    return Call(stage, store.identity(stage.address).key, effects_outdated, fresh)

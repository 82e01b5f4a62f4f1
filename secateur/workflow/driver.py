"""Bring one stage up to date: leave it, restore it from the cache, or run it. Both drivers end here."""

import logging
from collections.abc import Sequence

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed
from secateur.files import write_json
from secateur.workflow import code_snapshots
from secateur.workflow.code_lock import code_of
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.execution import Execute, execute, execute_effects, has_effects
from secateur.workflow.outcome import Action, Outcome
from secateur.workflow.project import Project
from secateur.workflow.results import read_json
from secateur.workflow.stage import Stage
from secateur.workflow.stages import stages

logger = logging.getLogger(__name__)


def bring_up_to_date(
    project: Project,
    store: DvcStore,
    config: RunConfig,
    stage: Stage,
    *,
    effects_outdated: bool = False,
    run: Execute = execute,
) -> Outcome:
    """Do the least that makes a stage agree with its inputs.

    Args:
        project: the workspace, which the caller holds exclusively.
        store: its DVC side.
        config: the parameters of this run.
        stage: what to bring up to date; everything upstream must be up to date already.
        effects_outdated: write the effects again because one that they show has changed.
        run: runs its body.
    """
    address = stage.address
    outdated = bool(stage.effects) and (effects_outdated or not has_effects(project, stage))
    if outdated or store.status(address).changed:
        _bring_back_changed(project, store, config, stage)
    identity = store.identity(address)
    action: Action = "cached"
    seconds = 0.0
    if store.status(address).changed:
        if store.restore(address):
            action = "restored"
        elif not store.store_again(address):
            seconds = run(project, stage, config, identity)
            store.commit(address)
            action = "run"
            _remember_seconds(project, address, seconds)
        code_snapshots.keep(project, code_of(project, config)[stage.name])
    if action != "run" and outdated:
        seconds = execute_effects(project, stage, config, identity)
        action = "measured"
    return Outcome(address, action, identity.key, seconds, store.output_digests(address))


def _bring_back_changed(project: Project, store: DvcStore, config: RunConfig, stage: Stage) -> None:
    """Compare all that a stage will read with its digests, and let the stages that made what differs make it again."""
    changed = store.forget_changed(_read_by(stage))
    if not changed:
        return
    logger.warning("%s: other bytes than DVC remembered, with the same size and time", _listed(changed))
    for maker in stages(config, project.root):
        if maker.address != stage.address and any(_holds(output.path, changed) for output in maker.outputs.values()):
            bring_up_to_date(project, store, config, maker)


def _read_by(stage: Stage) -> list[str]:
    return [*stage.dependencies, *(output.path for output in stage.outputs.values())]


def _holds(path: str, files: Sequence[str]) -> bool:
    return any(file == path or file.startswith(f"{path}/") for file in files)


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _remember_seconds(project: Project, address: str, seconds: float) -> None:
    """Keep how long the last execution of every stage took, for people who plan the next one."""
    path = project.state / "seconds.json"
    write_json(path, {**read_json(path), address: round(seconds, 1)})


def run_stage(project: Project, config: RunConfig, stage: Stage, *, commit: bool) -> Outcome:
    """Run one stage whether it is stale or not.

    Args:
        project: the workspace.
        config: the parameters of this run.
        stage: what to run; its inputs must exist.
        commit: record the result; False while DVC itself runs the stage, which it records then.

    Raises:
        CheckFailed: an input holds other bytes than DVC takes it to hold.
    """
    store = DvcStore(project)
    if changed := store.forget_changed(stage.dependencies):
        raise CheckFailed(
            f"{_listed(changed)} holds other bytes than DVC remembered, with the same size and time; nothing was "
            "computed with it; `secateur run` brings an output back, and reads a source as it is now"
        )
    identity = store.identity(stage.address)
    seconds = execute(project, stage, config, identity)
    if commit:
        store.commit(stage.address)
    code_snapshots.keep(project, code_of(project, config)[stage.name])
    return Outcome(stage.address, "run", identity.key, seconds)

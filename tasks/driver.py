"""Bring one stage up to date: leave it, restore it from the cache, or run it. Both drivers end here."""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from secateur.config import RunConfig
from secateur.files import write_json
from tasks import code_snapshots
from tasks.dvc_store import DvcStore
from tasks.execution import execute, execute_effects, has_effects
from tasks.project import Project
from tasks.results import read_json
from tasks.stages import Stage

logger = logging.getLogger(__name__)

Action = Literal["cached", "restored", "run", "measured"]


@dataclass(frozen=True)
class Outcome:
    """A manifest: references and digests, never bytes.

    Attributes:
        stage: address of the stage.
        action: cached = nothing to do; restored = checked out of the cache; run = executed;
            measured = only what is never compared was written again.
        key: identity of the stage.
        seconds: how long it took.
        outputs: path -> md5 of every output.
    """

    stage: str
    action: Action
    key: str
    seconds: float
    outputs: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a result store."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Undo ``as_json``."""
        return cls(**values)


def bring_up_to_date(
    project: Project, store: DvcStore, config: RunConfig, stage: Stage, *, effects_outdated: bool = False
) -> Outcome:
    """Do the least that makes a stage agree with its inputs.

    Args:
        project: the workspace, which the caller holds exclusively.
        store: its DVC side.
        config: the parameters of this run.
        stage: what to bring up to date; everything upstream must be up to date already.
        effects_outdated: write the effects again because one that they show has changed.
    """
    address = stage.address
    identity = store.identity(address)
    action: Action = "cached"
    seconds = 0.0
    status = store.status(address)
    if status.changed:
        if store.restore(address):
            action = "restored"
        else:
            seconds = execute(project, stage, config, identity)
            store.commit(address)
            action = "run"
            _remember_seconds(project, address, seconds)
        code_snapshots.keep(project, identity)
    if action != "run" and stage.effects and (effects_outdated or not has_effects(project, stage)):
        seconds = execute_effects(project, stage, config, identity)
        action = "measured"
    return Outcome(address, action, identity.key, seconds, store.output_digests(address))


def _remember_seconds(project: Project, address: str, seconds: float) -> None:
    """Keep how long the last execution of every stage took, for people who plan the next one."""
    path = project.state / "seconds.json"
    write_json(path, {**read_json(path), address: round(seconds, 1)})


def is_up_to_date(project: Project, store: DvcStore, graph: tuple[Stage, ...]) -> bool:
    """Tell whether a run would do nothing, with one look at the workspace."""
    statuses = store.statuses()
    return all(
        stage.address in statuses and not statuses[stage.address].changed and has_effects(project, stage)
        for stage in graph
    )


def run_stage(project: Project, config: RunConfig, stage: Stage, *, commit: bool) -> Outcome:
    """Run one stage whether it is stale or not.

    Args:
        project: the workspace.
        config: the parameters of this run.
        stage: what to run; its inputs must exist.
        commit: record the result; False while DVC itself runs the stage, which it records then.
    """
    store = DvcStore(project)
    identity = store.identity(stage.address)
    seconds = execute(project, stage, config, identity)
    if commit:
        store.commit(stage.address)
    code_snapshots.keep(project, identity)
    return Outcome(stage.address, "run", identity.key, seconds)

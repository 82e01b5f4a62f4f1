"""Why a stage would run again: the causes, from the first stage that has one down to the stage asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from secateur.config.schema import RunConfig
from secateur.identity.key import Identity
from secateur.workflow import code_snapshots
from secateur.workflow.code_lock import StageCode, code_of
from secateur.workflow.dvc_store import DvcStore, Status
from secateur.workflow.execution import has_effects
from secateur.workflow.params import flatten
from secateur.workflow.project import Project
from secateur.workflow.stage import Stage

Verdict = Literal["up to date", "restore", "run", "run if upstream changes", "measure"]

_MAX_LINES = 6


@dataclass(frozen=True)
class Explanation:
    """What a run would do with one stage.

    Attributes:
        stage: its address.
        verdict: what a run would do.
        causes: one line for every difference from dvc.lock.
        upstream: addresses of changed stages that it depends on.
    """

    stage: str
    verdict: Verdict
    causes: tuple[str, ...]
    upstream: tuple[str, ...]


def plan(project: Project, store: DvcStore, config: RunConfig, graph: Sequence[Stage]) -> list[Explanation]:
    """Explain every stage, in running order."""
    statuses, code = store.statuses(), code_of(project, config)
    explained: list[Explanation] = []
    makers = {output.path: stage.address for stage in graph for output in stage.outputs.values()}
    rerun: set[str] = set()
    for stage in graph:
        status = statuses[stage.address]
        sources = sorted({makers[path] for path in stage.inputs.values() if path in makers})
        upstream = tuple(source for source in sources if source in rerun)
        # An input that an earlier stage will write anew is that stage's difference, not this one's.
        own = _own(status, {path for path, maker in makers.items() if maker in rerun or _touched(statuses[maker])})
        verdict = _verdict(project, store, stage, own, upstream)
        # Restored outputs belong to other inputs than the recorded ones, so they may differ from those on disk.
        if verdict in ("run", "run if upstream changes") or own.inputs_changed:
            rerun.add(stage.address)
        causes = _causes(project, store, stage, own, code[stage.name])
        if verdict == "measure":
            missing = [path for path in stage.effects.values() if not (project.root / path).exists()]
            causes = (*causes, *(f"{path} is missing" for path in missing))
        explained.append(Explanation(stage.address, verdict, causes, upstream))
    return explained


def ancestors(graph: Sequence[Stage], address: str) -> set[str]:
    """Return the addresses of a stage and of everything it depends on."""
    makers = {output.path: stage for stage in graph for output in stage.outputs.values()}
    stages = {stage.address: stage for stage in graph}
    found: set[str] = set()
    waiting = [address]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += [makers[path].address for path in stages[current].inputs.values() if path in makers]
    return found


def _touched(status: Status) -> bool:
    return bool(status.outputs) and not status.inputs_changed


def _own(status: Status, written_upstream: set[str]) -> Status:
    def is_upstream(path: str) -> bool:
        return path in written_upstream or path.removesuffix("/card.json") in written_upstream

    return Status(
        new=status.new,
        command=status.command,
        code=status.code,
        dependencies={path: state for path, state in status.dependencies.items() if not is_upstream(path)},
        parameters=status.parameters,
        outputs=status.outputs,
    )


def _verdict(project: Project, store: DvcStore, stage: Stage, own: Status, upstream: tuple[str, ...]) -> Verdict:
    if own.inputs_changed:
        return "restore" if not upstream and store.can_restore(stage.address) else "run"
    if upstream:
        return "run if upstream changes"
    if own.outputs:
        return "restore" if store.can_restore(stage.address) else "run"
    return "up to date" if has_effects(project, stage) else "measure"


def _causes(project: Project, store: DvcStore, stage: Stage, own: Status, code: StageCode) -> tuple[str, ...]:
    if own.new:
        return ("it has never run here (no entry in dvc.lock)",)
    recorded = store.recorded(stage.address)
    lines: list[str] = []
    if own.command:
        lines.append("its command changed")
    if recorded is not None:
        lines += _parameter_causes(store, stage, own, recorded)
        for path, state in own.dependencies.items():
            lines.append(_dependency_cause(path, state, recorded))
        if own.code:
            lines += _code_causes(project, recorded.code, code)
    for path, state in own.outputs.items():
        lines.append(_output_cause(path, state))
    return tuple(lines)


def _output_cause(path: str, state: str) -> str:
    if state == "deleted":
        return f"output {path} was deleted"
    if state == "modified":
        return f"output {path} was changed outside the workflow (its digest differs from dvc.lock)"
    return f"output {path} is {state}"


def _parameter_causes(store: DvcStore, stage: Stage, own: Status, recorded: Identity) -> list[str]:
    if not own.parameters and not own.code:
        return []
    now = flatten(store.current_parameters(stage.address))
    before = flatten(recorded.parameters)
    return [
        f"parameter {name} changed from {_shown(before, name)} to {_shown(now, name)}"
        for name in sorted({*now, *before})
        if _shown(before, name) != _shown(now, name)
    ]


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "its default"
    return "null" if values[name] is None else str(values[name])


def _dependency_cause(path: str, state: str, recorded: Identity) -> str:
    if path not in recorded.dependencies:
        return f"data {path} is a new dependency"
    if state == "deleted":
        return f"data {path} was deleted"
    return f"data {path} changed (it was md5 {recorded.dependencies[path][:8]})"


def _code_causes(project: Project, recorded: str, code: StageCode) -> list[str]:
    changes = code_snapshots.changes(project, recorded, code)
    if changes is None:
        return [f"its code changed (from {recorded[:8] or 'none'} to {code.digest[:8]}); what it was is not kept here"]
    said = []
    for change in changes:
        shown = [f"    {line}" for line in change.lines[:_MAX_LINES]]
        if len(change.lines) > _MAX_LINES:
            shown.append(f"    and {len(change.lines) - _MAX_LINES} more lines")
        said.append("\n".join([f"code {change.name} {change.what}", *shown]))
    return said

"""Run one stage body: outputs appear complete or not at all."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.config.effective import effective
from secateur.config.schema import RunConfig
from secateur.errors import ProjectError
from secateur.files import free_bytes, replacing
from secateur.identity.key import Identity
from secateur.workflow.full_form import function_of
from secateur.workflow.job import Job
from secateur.workflow.params import flatten
from secateur.workflow.project import Project
from secateur.workflow.ranks import run_in_processes
from secateur.workflow.stage import Stage

if TYPE_CHECKING:
    from secateur.data.row_texts import Work

logger = logging.getLogger(__name__)

MIN_FREE_BYTES = 512 * 1024**2
"""A checkpoint is written twice (workspace and DVC cache); less than this is refused before any compute."""


def arguments(stage: Stage, config: RunConfig) -> dict[str, Any]:
    """Return the keyword arguments of the stage's body: its own parameters, nothing else."""
    return {parameter.argument: parameter.value(config) for parameter in stage.parameters}


_UNSAID = frozenset({"run.device", "run.processes"})
"""Came when cards had been written: at their default they are left out, so that those cards keep their bytes."""


def parameters_of(stage: Stage, config: RunConfig) -> dict[str, Any]:
    """Return dotted name -> value of every parameter that decides the stage's result, its default or not."""
    return flatten(
        {
            entry.name: entry.value
            for entry in effective(config)
            if entry.origin != "default" or entry.name not in _UNSAID
            if any(f"{entry.name}.".startswith(f"{key}.") for key in stage.keys)
        }
    )


def require_space(project: Project) -> None:
    """Refuse to start work that could not be stored.

    Raises:
        ProjectError: less than ``MIN_FREE_BYTES`` is free.
    """
    found = free_bytes(project.root)
    if found < MIN_FREE_BYTES:
        raise ProjectError(
            f"no space left: {found / 1e6:.0f} MB are free on the device that holds {project.root}, "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB are needed; `secateur gc` frees what nothing refers to"
        )


Execute = Callable[[Project, Stage, RunConfig, Identity], float]
"""Runs the body of a stage somewhere, moves its outputs into place, and returns the seconds that it took."""


def execute(
    project: Project, stage: Stage, config: RunConfig, identity: Identity, *, work: "Work | None" = None
) -> float:
    """Run the body, whose pieces of ``work`` others may do, and move its outputs into place; return the seconds."""
    started = time.monotonic()
    for name, needed in (("run", stage.outputs), ("measure", stage.effects)):
        if needed:
            _body(project, stage, name)  # one that is missing is refused before anything is computed
    if stage.outputs:
        with _outputs(project, stage) as outputs:
            if stage.trains and config.run.processes > 1:
                run_in_processes(project, stage, identity, count=config.run.processes, outputs=outputs)
            else:
                run_body(project, stage, config, identity, outputs=outputs, work=work)
    if stage.effects:
        _measure(project, stage, config, identity)
    return time.monotonic() - started


def run_body(
    project: Project,
    stage: Stage,
    config: RunConfig,
    identity: Identity,
    *,
    outputs: dict[str, Path],
    rank: int = 0,
    work: "Work | None" = None,
) -> None:
    """Run the body of a stage in this process, which is one of several where ``rank`` says so."""
    job = _job(project, stage, config, identity, outputs=outputs)
    _body(project, stage, "run")(replace(job, rank=rank, work=work), **arguments(stage, config))


def execute_effects(project: Project, stage: Stage, config: RunConfig, identity: Identity) -> float:
    """Write again what is never compared (measured times, registry entries, the page); return the seconds."""
    started = time.monotonic()
    _measure(project, stage, config, identity)
    return time.monotonic() - started


def has_effects(project: Project, stage: Stage) -> bool:
    """Tell whether everything that is never compared is there."""
    return all((project.root / path).exists() for path in stage.effects.values())


def _body(project: Project, stage: Stage, name: str) -> Callable[..., None]:
    return function_of(project.root, "tasks", stage.name, name)


def _measure(project: Project, stage: Stage, config: RunConfig, identity: Identity) -> None:
    outputs = {name: project.root / output.path for name, output in stage.outputs.items()}
    _body(project, stage, "measure")(
        _job(project, stage, config, identity, outputs=outputs), **arguments(stage, config)
    )


def _job(project: Project, stage: Stage, config: RunConfig, identity: Identity, *, outputs: dict[str, Path]) -> Job:
    digests = {}
    for name, path in stage.inputs.items():
        card = f"{path}/card.json"
        digests[name] = identity.dependencies.get(path) or identity.dependencies[card]
    return Job(
        stage=stage.address,
        key=identity.key,
        inputs={name: project.root / path for name, path in stage.inputs.items()},
        outputs=outputs,
        effects={
            **{name: project.root / path for name, path in stage.effects.items()},
            **{Path(path).stem: project.root / path for path in stage.effect_inputs},
        },
        digests=digests,
        parameters=parameters_of(stage, config),
        constraints=project.constraints_file,
        state=project.state,
    )


@contextmanager
def _outputs(project: Project, stage: Stage) -> Iterator[dict[str, Path]]:
    """Yield temporary paths; move them into place when the body has returned and written all of them."""
    with ExitStack() as stack:
        written = {
            name: stack.enter_context(replacing(project.root / output.path)) for name, output in stage.outputs.items()
        }
        yield written
        missing = [stage.outputs[name].path for name, path in written.items() if not path.exists()]
        if missing:
            raise ProjectError(f"{stage.address} ended without writing {', '.join(missing)}")

"""The stage graph: every stage that the project's ``tasks/`` declare, each after those whose files it reads.

From it come dvc.yaml, the flow's tasks and the identity.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from secateur.config.schema import RunConfig
from secateur.errors import ProjectError
from secateur.workflow.full_form import folder_of, function_of, names_in
from secateur.workflow.stage import Stage


def stages(config: RunConfig, root: Path) -> tuple[Stage, ...]:
    """Return the graph for these parameters, in an order in which it can be run.

    Args:
        config: the parameters.
        root: folder of the project; its own stage files count before the package's.

    Raises:
        ProjectError: a stage file of the project cannot be loaded or declares no stage, or stages wait for each other.
    """
    return tuple(_ordered([stage for name in names_in(root, "tasks") for stage in _declared(config, root, name)]))


def find_stage(config: RunConfig, root: Path, address: str) -> Stage:
    """Return one stage by its address.

    Raises:
        ProjectError: there is no such stage; the message lists those that exist.
    """
    graph = stages(config, root)
    for stage in graph:
        if stage.address == address:
            return stage
    known = ", ".join(stage.address for stage in graph)
    raise ProjectError(f"{address} is not a stage; stages are {known}")


def _declared(config: RunConfig, root: Path, name: str) -> Sequence[Stage]:
    found = function_of(root, "tasks", name, "declare")(config, root)
    if not found or any(not isinstance(stage, Stage) or stage.name != name for stage in found):
        file = folder_of(root, "tasks") / f"{name}.py"
        raise ProjectError(f"{file}: declare returns no stages named {name}; one word names a stage and its file")
    return list(found)


def _ordered(waiting: list[Stage]) -> Iterator[Stage]:
    """Yield a stage when nothing that it reads is made by one that waits; the first in the list before the others."""
    while waiting:
        unmade = {path: stage.address for stage in waiting for path in _written(stage)}
        ready = next((stage for stage in waiting if not unmade.keys() & {*_read(stage)}), None)
        if ready is None:
            circle = ", ".join(stage.address for stage in waiting)
            raise ProjectError(f"{circle}: each reads what another one of them writes, so none can be the first")
        waiting.remove(ready)
        yield ready


def _written(stage: Stage) -> Iterator[str]:
    yield from (output.path for output in stage.outputs.values())
    yield from stage.effects.values()


def _read(stage: Stage) -> Iterator[str]:
    yield from stage.inputs.values()
    yield from stage.effect_inputs

"""What is stale, as a Prefect flow where a server answers or starts, and without one where it does not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from secateur.processes.child_server import ServerDidNotStart
from secateur.workflow.chain import Watcher
from secateur.workflow.full_form import function_of
from secateur.workflow.prefect_server import api_of_settings, serving_prefect
from secateur.workflow.project import Project


def bring_project_up_to_date(
    project: Project, *, told: Callable[[str], None], watch: Watcher | None = None, until: str | None = None
) -> list[dict[str, Any]]:
    """Run the stages; Prefect's record is an index of what DVC holds, so a run without it has the same result.

    Args:
        project: held exclusively by the caller.
        told: gets one line when there will be no record.
        watch: told about progress.
        until: address of the last stage; None runs all.

    Returns:
        The manifest of every stage.

    Raises:
        ProjectError: the server that PREFECT_API_URL names does not answer.
    """
    with _recorded(project, told=told) as recorded:
        build = function_of(project.root, "flows", "build", "build")
        run = build if recorded else without_record(build)
        manifests: list[dict[str, Any]] = run(str(project.root), watch, until)
        return manifests


def without_record(flow: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a Prefect flow: within another flow it is a part of that one's run."""
    plain: Callable[..., Any] = getattr(flow, "fn", flow)
    return plain


@contextmanager
def _recorded(project: Project, *, told: Callable[[str], None]) -> Iterator[bool]:
    """Yield whether a server answers."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # Joining the thread of the heartbeats costs 1 s; only a server of the user's own would look at them.
    without_heartbeats = {} if api_of_settings() else {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with ExitStack() as stack:
        try:
            stack.enter_context(serving_prefect(project, pages=False))
        except ServerDidNotStart as error:
            told(f"{error}; the stages run without Prefect's record of them")
            yield False
            return
        stack.enter_context(temporary_settings(without_heartbeats))
        yield True

"""``watch``: look at the source and at the traffic, and tell the Prefect server when one of them moved."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from secateur.config.schema import RunConfig
from secateur.data.provenance import PROVENANCE
from secateur.errors import DataError, ProjectError
from secateur.files import write_json
from secateur.scheduling.live import read_live
from secateur.scheduling.source_version import moved_sources
from secateur.sources.locations import expand, locate
from secateur.workflow.params import read_config
from secateur.workflow.prefect_server import Server, using
from secateur.workflow.project import Project
from secateur.workflow.results import read_json

_MEMORY = "watch.json"


def watch(
    project: Project,
    *,
    every_s: float,
    emit: Callable[[str], None],
    told: Callable[[str], None],
    drifted: Callable[[str], None] | None = None,
    rounds: int | None = None,
) -> None:
    """Look at the source again and again; tell about every change once, also about one made while nobody watched.

    Args:
        project: whose source.
        every_s: seconds between two looks.
        emit: sends the event, given one line about the change; what it cannot send is sent at the next look.
        told: is given one line for the user.
        drifted: sends the event of a server whose traffic is not like its training rows, likewise; None = nobody looks.
        rounds: how often to look; None = until interrupted.
    """
    seen: tuple[tuple[int, int], ...] | None = None
    told_problem = ""
    while rounds is None or rounds > 0:
        try:
            stamp = _stamp(project, read_config(project))
            # The digest of a large file is only taken when size or time say that it may be another one.
            if stamp is None or stamp != seen:
                _look(project, emit=emit, told=told)
                seen = stamp
            if drifted is not None:
                _look_at_traffic(project, drifted=drifted, told=told)
            told_problem = ""
        except (DataError, ProjectError) as error:
            seen = None
            if str(error) != told_problem:  # a source that is being replaced is missing for a moment
                told(str(error))
                told_problem = str(error)
        rounds = None if rounds is None else rounds - 1
        if rounds != 0:
            time.sleep(every_s)


def send_event(server: Server, *, event: str, resource: str, change: str) -> None:
    """Send one event through Prefect's client, which knows the key of a server that asks for one.

    Raises:
        ProjectError: the server does not take it.
    """
    import httpx
    from prefect.client.orchestration import get_client

    body: dict[str, Any] = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": resource},
        "payload": {"change": change},
    }
    with using(server), get_client(sync_client=True) as client:
        try:
            client.request("POST", "/events", json=[body]).raise_for_status()
        except httpx.HTTPError as error:
            raise ProjectError(f"{server.api} does not take the event: {type(error).__name__}") from error


def _look(project: Project, *, emit: Callable[[str], None], told: Callable[[str], None]) -> None:
    config = read_config(project)
    change = _change(project, config)
    if change is None:
        return
    memory = project.state / _MEMORY
    if read_json(memory).get("told") == change:
        return
    emit(change)
    write_json(memory, {**read_json(memory), "told": change})
    told(f"{change}: told the schedule")


def _look_at_traffic(project: Project, *, drifted: Callable[[str], None], told: Callable[[str], None]) -> None:
    """Tell of a drift once for as long as it lasts: of one version, in the same measures."""
    live, memory = read_live(project), project.state / _MEMORY
    drift = None if live is None else live.drift
    what = None
    if live is not None and drift is not None:
        what = f"{live.model} {live.version or live.digest[:12]}: {', '.join(live.windows[-1].drifted)}"
    if read_json(memory).get("drift") == what:
        return
    if drift is not None:
        drifted(drift)
        told(f"{drift}: told the schedule")
    write_json(memory, {**read_json(memory), "drift": what})


def _change(project: Project, config: RunConfig) -> str | None:
    """Describe how the source differs from what ``ingest`` copied last; None when it does not."""
    files = _local_files(project, config)
    if not files:
        return next(iter(moved_sources(project, config)), None)
    from secateur.data.acquisition import digest_of
    from secateur.readers.reading import reading_of

    digest = digest_of(files, reading_of(config.ingest))
    before = read_json(project.root / "data" / "raw" / PROVENANCE).get("sha256")
    return None if digest == before else f"{config.ingest.source} is sha256 {digest[:12]}"


def _stamp(project: Project, config: RunConfig) -> tuple[tuple[int, int], ...] | None:
    """Return size and time of every file of a local source; None for others, which are asked each time."""
    stats = [file.stat() for file in _local_files(project, config)]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats) or None


def _local_files(project: Project, config: RunConfig) -> list[Path]:
    """Return the files of a local source; none for what is elsewhere."""
    parts = expand(config.ingest.source, root=project.root)
    locations = [locate(part, root=project.root, addresses=True) for part in parts]
    return [location.path for location in locations if location.kind == "file" and location.path is not None]

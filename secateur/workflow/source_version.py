"""Has a source changed where DVC cannot see it? A package is replaced, a hub repository gets a new commit.

A local file is a dependency of ``ingest``, so DVC sees it.
"""

from pathlib import Path

from secateur.config.schema import RunConfig
from secateur.data.provenance import PROVENANCE
from secateur.errors import DataError, ModelError
from secateur.readers.sources import expand, locate
from secateur.workflow.project import Project
from secateur.workflow.results import read_json


def moved_sources(project: Project, config: RunConfig) -> tuple[str, ...]:
    """Name the sources whose version is no longer the one that ``ingest`` copied; empty before the first copy.

    A hub id without a revision is asked for its newest commit; one with a revision cannot move.

    Raises:
        DataError: the source is gone, or the hub cannot be reached.
        ModelError: the same of the model.
    """
    asked = (
        ("ingest.source", config.ingest.source, config.ingest.hub_revision, "data/raw"),
        ("baseline.model", config.baseline.model, config.baseline.hub_revision, "models/base"),
    )
    lines = []
    for key, source, revision, copied in asked:
        if source.startswith("scratch:"):
            continue
        line = _moved(project.root, key=key, source=source, revision=revision, copied=project.root / copied)
        if line:
            lines.append(line)
    return tuple(lines)


def _moved(root: Path, *, key: str, source: str, revision: str | None, copied: Path) -> str | None:
    record = read_json(copied / PROVENANCE)
    if not record:
        return None
    try:
        # Several files of one package share its version.
        first = expand(source, root=root)[0] if key == "ingest.source" else source
        location = locate(first, asked_by=key, root=root)
        if location.kind == "package":
            found, before, what = str(location.origin["version"]), record.get("version"), "version"
        elif location.kind == "hub" and revision is None:
            found, before, what = _newest_commit(source, key=key), record.get("revision"), "commit"
        else:
            return None
    except DataError as error:
        if key == "baseline.model":
            raise ModelError(str(error)) from error
        raise
    return None if found == before else f"{key}={source} is at {what} {found}, the last run read {before}"


def _newest_commit(repository: str, *, key: str) -> str:
    from secateur.readers.hub import newest_commit

    return newest_commit(repository, kind="dataset" if key == "ingest.source" else "model", asked_by=key)

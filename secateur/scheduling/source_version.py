"""Has a source changed where DVC cannot see it: a package is replaced, a hub gets a commit, an address another file?

A local file is a dependency of ``ingest``, so DVC sees it.
"""

from collections.abc import Iterator
from pathlib import Path

from secateur.config.addresses import is_address
from secateur.config.schema import RunConfig
from secateur.data.provenance import PROVENANCE
from secateur.errors import DataError, ModelError
from secateur.sources.locations import DATABASE_PREFIX, expand, locate
from secateur.sources.source_files import files_of
from secateur.workflow.project import Project
from secateur.workflow.results import read_json


def moved_sources(project: Project, config: RunConfig) -> tuple[str, ...]:
    """Name the sources whose version is no longer the one that ``ingest`` copied; empty before the first copy.

    A hub id without a revision is asked for its newest commit; one with a revision cannot move. An address is asked how
    it describes its file (ETag, time, size); where that is another one, or says nothing, the file is fetched into the
    project's state and its digest compared. One with ``ingest.sha256`` cannot move. A database is asked again.

    Raises:
        DataError: the source is gone, or the hub or the address cannot be reached.
        ModelError: the same of the model.
    """
    asked = (
        ("ingest.source", config.ingest.source, config.ingest.hub_revision, "data/raw"),
        ("baseline.model", config.baseline.model, config.baseline.hub_revision, "models/base"),
    )
    lines = list(_other_files(project, config))
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
        location = locate(first, asked_by=key, root=root, addresses=key == "ingest.source")
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


def _other_files(project: Project, config: RunConfig) -> Iterator[str]:
    """Name the addresses, of every part, and databases that no longer give what ``ingest`` copied."""
    record, ingest = read_json(project.root / "data" / "raw" / PROVENANCE), config.ingest
    if not record or not any(map(_is_afar, (ingest.source, *ingest.given.values()))):
        return
    from secateur.data.acquisition import digest_of, digest_of_answer
    from secateur.readers.reading import reading_of
    from secateur.sources.fetching import FETCHED, fetch

    reading = reading_of(ingest)
    for part, places in files_of(ingest.source, ingest.given, root=project.root).items():
        entries = record.get("files", [record]) if part == "train" else record.get(part, [])
        for place, entry in zip(places, entries, strict=False):  # other parameters name other files: ingest is stale
            if place.kind == "database":
                digest = digest_of_answer(place, reading)
            elif place.kind != "address" or (part == "train" and ingest.sha256 is not None):
                continue
            else:
                found = fetch(place, into=project.state / FETCHED, alone=part == "train" and len(places) == 1)
                digest = found.sha256 if reading.layout.query is None else digest_of([found.path], reading)
            if digest != entry.get("sha256"):
                before = str(entry.get("sha256"))[:12]
                yield f"{place.asked_by}={place.name} has sha256 {digest[:12]}, the last run read {before}"


def _is_afar(source: str) -> bool:
    first = expand(source)[0]
    return is_address(first) or first.startswith(DATABASE_PREFIX)


def _newest_commit(repository: str, *, key: str) -> str:
    from secateur.sources.hub import newest_commit

    return newest_commit(repository, kind="dataset" if key == "ingest.source" else "model", asked_by=key)

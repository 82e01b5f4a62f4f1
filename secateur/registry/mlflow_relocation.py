"""A project's own registry after the project was copied or moved.

MLflow keeps absolute addresses of artifacts in its database, so a copied project would write new versions into the
original's ``mlruns``, and a moved one find none of its files. They are put right when the registry is opened, before
anything is read; ``mlruns`` beside ``mlflow.db`` is where this project's artifacts are.
"""

import atexit
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

logger = logging.getLogger(__name__)

ARTIFACTS_FOLDER = "mlruns"
DATABASE = "mlflow.db"
_PATIENCE_SECONDS = 30.0
_ADDRESSES = (("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("model_versions", "storage_location"))


@dataclass(frozen=True)
class _Experiment:
    number: int
    location: str
    runs: tuple[str, ...]


def bring_home(home: Path) -> Path:
    """Point the addresses of a project's own registry at the project, where it was copied or moved.

    An experiment is left alone whose artifacts somebody keeps elsewhere: in a folder that is no project's, and of which
    this project holds nothing.

    Args:
        home: the project's folder.

    Returns:
        The database to open: the project's own, or a copy for this process alone where that cannot be written.

    Raises:
        sqlite3.Error: the database is none.
    """
    file = home / DATABASE
    if not file.is_file():
        return file
    moved = _moved(file, home)
    if not moved:
        return file
    if not (os.access(home, os.W_OK) and os.access(file, os.W_OK)):
        folder = TemporaryDirectory(prefix="secateur-registry-")
        atexit.register(folder.cleanup)
        file = Path(shutil.copyfile(file, Path(folder.name) / DATABASE))
    with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS)) as database, database:
        _rewrite_experiments(database, home, moved)
        for table, column in _ADDRESSES:
            _rewrite(database, table, column, home=home, moved=moved)
    logger.warning(
        "this project's registry came from %s; its artifacts are those in %s", ", ".join(sorted(map(str, moved))), home
    )
    return file


def _moved(file: Path, home: Path) -> set[Path]:
    """Return the folders of the projects that a registry's experiments have come from."""
    with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", *(table for table, _ in _ADDRESSES)} <= tables:
            return set()
        return {former for one in _experiments(database) if (former := _former(one, home)) is not None}


def _experiments(database: sqlite3.Connection) -> Iterator[_Experiment]:
    found = database.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for number, location in found:
        runs = database.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (number,)).fetchall()
        yield _Experiment(number, location or "", tuple(run for (run,) in runs))


def _former(experiment: _Experiment, home: Path) -> Path | None:
    """Return the folder of the project that an experiment's artifacts were in, when it is not this one."""
    former = _project_of(experiment.location)
    # MLflow's own first experiment is named after the folder that the first command was run in.
    if former is None or former.is_relative_to(home):
        return None
    here = any((home / ARTIFACTS_FOLDER / run).exists() for run in experiment.runs)
    another_project = (former / DATABASE).exists()
    nothing_there = not (former / ARTIFACTS_FOLDER).exists() and not experiment.runs
    return former if here or another_project or nothing_there else None


def _project_of(location: str) -> Path | None:
    path = _path(location)
    if path is None or ARTIFACTS_FOLDER not in path.parts:
        return None
    at = len(path.parts) - 1 - path.parts[::-1].index(ARTIFACTS_FOLDER)
    return Path(*path.parts[:at])


def _path(location: str) -> Path | None:
    """Return the path of an address on this machine; None for one elsewhere."""
    if location.startswith("/"):
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def _rewrite_experiments(database: sqlite3.Connection, home: Path, moved: set[Path]) -> None:
    for experiment in list(_experiments(database)):
        former = _former(experiment, home)
        if former in moved and former is not None:
            address = _at_home(experiment.location, home=home, former=former)
            values = (address, experiment.number)
            database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", values)


def _rewrite(database: sqlite3.Connection, table: str, column: str, *, home: Path, moved: set[Path]) -> None:
    rows = database.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()  # noqa: S608
    for row, location in rows:
        former, path = _project_of(location), _path(location)
        if former not in moved or former is None or path is None:
            continue
        # A database that was copied without its artifacts still finds the old ones where they are.
        if path.exists() and not (home / path.relative_to(former)).exists():
            continue
        values = (_at_home(location, home=home, former=former), row)
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", values)  # noqa: S608


def _at_home(location: str, *, home: Path, former: Path) -> str:
    path = _path(location)
    assert path is not None
    here = home / path.relative_to(former)
    return here.as_uri() if location.startswith("file:") else str(here)

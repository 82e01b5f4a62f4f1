"""Rebuilding a registered version in a worktree at its commit, and what the rebuild is worth."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from secateur import __version__
from secateur.errors import CheckFailed, ProjectError
from secateur.models.card import Card
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import resolve
from secateur.reproduction.differences import (
    Comparison,
    compare_models,
    different_environment,
    different_files,
    different_packages,
)
from secateur.reproduction.recipe import LOCK, PARAMS, Recipe
from secateur.verification.keys import SIGNING_VARIABLE
from secateur.workflow import code_lock
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.full_form import PACKAGE
from secateur.workflow.params import read_config
from secateur.workflow.project import REBUILD_LOCK, REBUILD_PREFIX, Project, command_line_of, git, locked
from secateur.workflow.stage import LATENCY_TABLE

Verdict = Literal["bit-identical", "metric-equivalent", "different"]


@dataclass(frozen=True)
class Reproduction:
    """A rebuilt version beside the registered one.

    Attributes:
        name: of the registered model.
        version: its number.
        commit: whose code rebuilt it.
        verdict: bit-identical; metric-equivalent (the environment differs, the scores do not); or different.
        reason: one line.
        stages: address -> seconds of every stage that was rebuilt.
        files: file -> whether it is the same.
        environment: what differs from the environment that made the version.
        comparison: of both models on the test rows; None when the bits are equal.
    """

    name: str
    version: str
    commit: str
    verdict: Verdict
    reason: str
    stages: dict[str, float]
    files: dict[str, bool]
    environment: tuple[str, ...]
    comparison: Comparison | None


def furnish(project: Project, tree: Path, recipe: Recipe) -> None:
    """Put everything into the worktree that git does not hold.

    Raises:
        ProjectError: the data cannot be had.
        CheckFailed: it is not what the version says.
    """
    shutil.copyfile(recipe.kept / LOCK, tree / LOCK)
    shutil.copyfile(recipe.kept / PARAMS, tree / PARAMS)
    store = DvcStore(project)
    for path, md5 in recipe.sources().items():
        store.fetch(md5, tree / path, what=f"{path} of models:/{recipe.name}/{recipe.version}")
    if (wanted := recipe.digest_of(LATENCY_TABLE)) is not None:
        _find_latency_table(project, tree, recipe, md5=wanted)


def set_threads(tree: Path, code: "Code", num_threads: int) -> None:
    """Let the worktree compute with another number of threads, which gives other bits."""
    yaml = YAML()
    values = yaml.load((tree / PARAMS).read_text(encoding="utf-8"))
    is_named = bool(values.get("run"))
    values["run"] = {**(values.get("run") or {}), "num_threads": num_threads}
    with (tree / PARAMS).open("w", encoding="utf-8") as file:
        yaml.dump(values, file)
    if not is_named:  # the graph of the commit does not list it
        command = [sys.executable, "-P", "-m", code.module, "plan"]
        subprocess.run(command, cwd=tree, env={**os.environ, **code.environment}, capture_output=True, check=False)


def _find_latency_table(project: Project, tree: Path, recipe: Recipe, *, md5: str) -> None:
    """Measured prices are data: take those that the version was made with, wherever they are kept."""
    for folder in (tree, recipe.kept, project.root):
        file = folder / LATENCY_TABLE
        if file.is_file() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() == md5:
            if folder != tree:
                shutil.copyfile(file, tree / LATENCY_TABLE)
            return
    raise ProjectError(
        f"models:/{recipe.name}/{recipe.version} was made with a {LATENCY_TABLE} (md5 {md5[:8]}) that neither its "
        "commit, its run nor this workspace holds"
    )


@dataclass(frozen=True)
class Code:
    """What rebuilds: the module of a command line, and the environment that finds it."""

    module: str
    environment: Mapping[str, str]


def code_for(project: Project, tree: Path, reference: str) -> Code:
    """Return the commit's own code where the project holds the package itself, else the installed one, if that made it.

    Raises:
        ProjectError: the installed package is not the code that made the version.
    """
    if PACKAGE.is_relative_to(project.root.resolve()):
        return Code(command_line_of(tree), {"PYTHONPATH": str(tree), "SECATEUR_WORKSPACE_CODE": str(tree)})
    made = Project(tree)
    if not code_lock.is_current(made, read_config(made)):
        version = code_lock.version_of(made) or "before 0.4, without a code.lock"
        raise ProjectError(
            f"{reference} was made by secateur {version}, whose code is not that of the installed {__version__}; "
            "install that one, and reproduce again"
        )
    return Code("secateur.cli", {})


def run_stage(tree: Path, address: str, code: Code, told: Callable[[str], None]) -> float:
    """Run one stage in a process of its own, without looking anything up or storing it; return the seconds.

    Raises:
        CheckFailed: it ended with an error.
    """
    told(address)
    started = time.monotonic()
    environment = {
        **{name: value for name, value in os.environ.items() if name != SIGNING_VARIABLE},
        **code.environment,
        "DVC_STAGE": address,  # as under `dvc repro`: the result is not recorded
    }
    completed = subprocess.run(
        [sys.executable, "-P", "-m", code.module, "stage", address],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode != 0:
        said = (completed.stderr.strip() or "no message").splitlines()[-1]
        raise CheckFailed(f"{address} could not be rebuilt: {said.removeprefix('secateur: ')}")
    return round(time.monotonic() - started, 1)


def judge(
    project: Project,
    registry: ModelRegistry,
    tree: Path,
    recipe: Recipe,
    *,
    seconds: dict[str, float],
    tolerance: float,
) -> Reproduction:
    """Compare the rebuilt checkpoint with the registered one, file by file, and where they differ on the test rows."""
    rebuilt = tree / recipe.checkpoint
    fingerprint = Card.read(rebuilt).fingerprint
    environment = [
        *different_environment(recipe.fingerprint, fingerprint),
        *different_packages(tree / "constraints.txt"),
    ]
    different = different_files(rebuilt, recipe.files)
    values: dict[str, Any] = {
        "name": recipe.name,
        "version": recipe.version,
        "commit": recipe.commit,
        "stages": seconds,
        "files": {name: name not in different for name in sorted({*recipe.files, *different})},
        "environment": tuple(environment),
    }
    if not different:
        said = f"all {len(recipe.files)} files are the same"
        return Reproduction(verdict="bit-identical", reason=said, comparison=None, **values)
    registered = resolve(project, f"models:/{recipe.name}/{recipe.version}", registry=registry).checkpoint
    clean = tree / "data" / "clean"
    compared = compare_models(registered, rebuilt, test=clean / "test.parquet", labels=clean / "labels.json")
    named = f"{', '.join(different[:5])} differ{'s' if len(different) == 1 else ''}"
    if not environment:
        said = f"{named}, in the same environment: the rebuild should have given the same bits"
        return Reproduction(verdict="different", reason=said, comparison=compared, **values)
    verdict: Verdict = "metric-equivalent" if compared.within(tolerance) else "different"
    said = f"{named}; another environment ({'; '.join(environment[:5])}); scores are "
    said += f"{'within' if verdict == 'metric-equivalent' else 'not within'} {tolerance:g} of the registered model's"
    return Reproduction(verdict=verdict, reason=said, comparison=compared, **values)


@contextmanager
def worktree(project: Project, folder: Path, commit: str) -> Iterator[Path]:
    """Check a commit out beside the workspace; what a killed rebuild left behind is removed first."""
    taken = f"another rebuild (process {{holder}}) runs in {project.root}; wait for it to end, or stop it"
    with locked(project, REBUILD_LOCK, taken=taken):
        _remove_leftovers(project)
        git(project.root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        try:
            yield folder / git(project.root, "rev-parse", "--show-prefix").strip()
        finally:
            git(project.root, "worktree", "remove", "--force", str(folder))


def _remove_leftovers(project: Project) -> None:
    for line in git(project.root, "worktree", "list", "--porcelain").splitlines():
        path = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and path.parent.name.startswith(REBUILD_PREFIX):
            shutil.rmtree(path.parent, ignore_errors=True)
    git(project.root, "worktree", "prune")

"""``retrain``: look at the source again; leave it, or build, judge the rows and the model, and promote or hold.

Nothing here imports torch or Prefect before something is stale.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secateur.config.schema import RunConfig
from secateur.data.sources import expand, locate
from secateur.errors import CheckFailed, DataError, Occupied, ProjectError
from secateur.registry.tags import CHALLENGER, CHAMPION
from secateur.workflow.driver import is_up_to_date, run_stage
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.project import Project, dirty_files, exclusive
from secateur.workflow.rendering import require_current
from secateur.workflow.report import refresh
from secateur.workflow.retraining import (
    Retraining,
    judged_before,
    last_review,
    now,
    record,
    remember_hold,
    remember_review,
)
from secateur.workflow.source_version import moved_sources
from secateur.workflow.stages import find_stage, stages

if TYPE_CHECKING:
    from secateur.data.quality import DataCondition
    from secateur.registry.mlflow_store import ModelRegistry
    from secateur.registry.registered_version import RegisteredVersion
    from secateur.workflow.drift import Reference

Builder = Callable[[], list[dict[str, Any]]]
"""Runs what is stale and returns the manifest of every stage."""

_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class _Before:
    """What was found before anything was done."""

    config: RunConfig
    store: DvcStore
    registry: "ModelRegistry"
    champion: "RegisteredVersion | None"
    moved: tuple[str, ...]
    stale: bool


def retrain(project: Project, *, cause: str, build: Builder, wait: bool = False) -> Retraining:
    """Bring the champion up to date with its source, parameters and code.

    A run that was killed is gone on with: finished stages are kept, and a challenger that nobody judged is judged.

    Args:
        project: a workspace with a clean tree, since a version from a dirty one could not be rebuilt.
        cause: what asked for the run; recorded.
        build: runs the stages while this function holds the workspace.
        wait: wait for another run in this workspace to end, instead of refusing.

    Returns:
        What was done and why; it is in ``reports/retrain.json`` and, unless nothing was to do, in the history.

    Raises:
        ProjectError: the tree is dirty, dvc.yaml is outdated, or (without ``wait``) another run holds the workspace.
        SecateurError: a stage or the registry refused; nothing that was finished is lost.
    """
    started, clock = now(), time.monotonic()

    def finished(done: Retraining) -> Retraining:
        seconds = round(time.monotonic() - clock, 1)
        kept = replace(done, cause=cause, started=started.isoformat(timespec="seconds"), seconds=seconds)
        record(project, kept)
        if kept.action != "up to date":
            refresh(project)
        return kept

    with _held(project, wait=wait):
        before = _look(project)
        if before.moved or before.stale:
            built = _build_if_fit(project, before, build)
        else:
            built = Retraining("up to date", "neither data nor parameters nor code changed")
    if built.action == "held":
        return finished(replace(built, champion=_version(before.champion)))
    return finished(_judge(project, before, built))


def require_clean(project: Project) -> None:
    """Refuse to train what could not be rebuilt.

    Raises:
        ProjectError: code, params.yaml or dvc.yaml differs from the commit.
    """
    dirty = dirty_files(project.root)
    if dirty:
        shown = ", ".join(dirty[:5]) + (f" and {len(dirty) - 5} more" if len(dirty) > 5 else "")
        raise ProjectError(
            f"{shown} is changed and not committed, so a version made now could not be rebuilt; commit it, or take it "
            "back, then run again"
        )


@contextmanager
def _held(project: Project, *, wait: bool) -> Iterator[None]:
    """Hold the workspace; a waiting run finds afterwards that the other one did its work."""
    while True:
        try:
            with exclusive(project):
                yield
                return
        except Occupied:
            if not wait:
                raise
            time.sleep(_POLL_SECONDS)


def _look(project: Project) -> _Before:
    from secateur.registry.mlflow_runs import aliased
    from secateur.registry.mlflow_store import ModelRegistry

    config = read_config(project)
    require_clean(project)
    require_current(project, config)
    store = DvcStore(project)
    registry = ModelRegistry(project)
    return _Before(
        config=config,
        store=store,
        registry=registry,
        champion=aliased(registry, config.register_.model_name, CHAMPION),
        moved=moved_sources(project, config),
        stale=not is_up_to_date(project, store, stages(config, project.root)),
    )


def _build_if_fit(project: Project, before: _Before, build: Builder) -> Retraining:
    """Judge the rows, then run what is stale; the caller holds the workspace."""
    from secateur.workflow import explain, latency_table
    from secateur.workflow.preflight import check

    config, store = before.config, before.store
    graph = stages(config, project.root)
    changes = list(before.moved)
    changes += [
        f"{entry.stage}: {cause}" for entry in explain.plan(project, store, config, graph) for cause in entry.causes
    ]
    ingest = find_stage(config, project.root, "ingest")
    from_hub = locate(expand(config.ingest.source)[0], root=project.root).kind == "hub"
    if from_hub and (before.moved or store.status("ingest").changed):
        run_stage(project, config, ingest, commit=True)  # a hub's rows can only be looked at when they are here
    conditions = _judge_rows(project, before)
    failed = [condition for condition in conditions if not condition.passed]
    kept = tuple(condition.as_json() for condition in conditions)
    if failed:
        reason = "the rows are not fit to train on: " + "; ".join(condition.reason for condition in failed)
        return Retraining("held", reason, changes=tuple(changes), conditions=kept)
    try:
        check(project, config)
    except DataError as error:
        return Retraining("held", f"the rows are not fit to train on: {error}", changes=tuple(changes))
    if before.moved and not from_hub:
        run_stage(project, config, ingest, commit=True)  # DVC sees no change: the pin or the id is the same
    latency_table.ensure(project, config)
    built = build()
    return Retraining(
        "up to date",
        "built again, and the same model came out",
        changes=tuple(changes),
        stages={entry["stage"]: entry["action"] for entry in built},
        conditions=kept,
    )


def _judge_rows(project: Project, before: _Before) -> "tuple[DataCondition, ...]":
    """Judge the source against the champion's rows, and write the drift report."""
    from secateur.workflow import drift

    config = before.config
    rows = drift.source_rows(project, config)
    reference, missing = _reference(project, before)
    conditions = drift.judge_rows(rows, reference, config)
    fit = all(condition.passed for condition in conditions)
    drift.write_report(
        project,
        rows=rows,
        reference=reference,
        missing=missing,
        conditions=conditions,
        checkpoint=_checkpoint(project, before, reference) if fit else None,
        num_embedded=config.retrain.drift_rows,
        seed=config.run.seed,
    )
    return conditions


def _reference(project: Project, before: _Before) -> "tuple[Reference | None, str | None]":
    from secateur.workflow import drift

    if before.champion is None:
        return None, "there is no champion yet"
    data_md5 = before.champion.tags.data_md5
    if data_md5 is None:
        return None, f"version {before.champion.version} does not say what it was trained from"
    return drift.reference_rows(
        project, before.store, before.config, version=before.champion.version, data_md5=data_md5
    )


def _checkpoint(project: Project, before: _Before, reference: "Reference | None") -> Any:
    """Return the champion's verified checkpoint, whose encoder compares the rows."""
    from secateur.registry.model_source import resolve

    if reference is None or not before.config.retrain.drift_rows:
        return None
    name = before.config.register_.model_name
    return resolve(project, f"models:/{name}/{reference.version}", registry=before.registry).checkpoint


def _judge(project: Project, before: _Before, built: Retraining) -> Retraining:
    """Promote or hold what was built, or what an earlier run left unjudged; else look after the champion."""
    from secateur.registry.mlflow_runs import aliased

    name, config = before.config.register_.model_name, before.config
    champion = aliased(before.registry, name, CHAMPION)
    challenger = aliased(before.registry, name, CHALLENGER)
    built = replace(built, champion=_version(champion), challenger=_version(challenger))
    if challenger is None or _version(challenger) == _version(champion):
        return _review(project, before, built, champion)
    held = judged_before(project, config, challenger=challenger.version, champion=_version(champion))
    if held is not None:
        reviewed = _review(project, before, built, champion)
        if reviewed.action != "up to date":
            return reviewed
        return replace(built, reason=f"{built.reason}; version {challenger.version} stays held: {held}")
    from secateur.flows.promote import promote

    verdict = promote(project, reference=f"models:/{name}/{challenger.version}")
    conditions = tuple(
        {"name": c.name, "asked": c.asked, "found": c.found, "passed": c.passed} for c in verdict.conditions
    )
    if verdict.promoted:
        _push(before)
        return replace(built, action="promoted", reason=verdict.reason, champion=verdict.version, conditions=conditions)
    remember_hold(project, config, challenger=verdict.version, champion=_version(champion), reason=verdict.reason)
    return replace(built, action="held", reason=verdict.reason, conditions=conditions)


def _push(before: _Before) -> None:
    """Send what ``ingest`` copied to DVC's remote: everything else is rebuilt from it."""
    if before.config.retrain.push:
        before.store.push(list(before.store.output_digests("ingest").values()))


def _review(project: Project, before: _Before, built: Retraining, champion: "RegisteredVersion | None") -> Retraining:
    """Verify and score a champion that is older than ``retrain.max_age``.

    A rebuild from the same data, parameters and code would give the same bits, so it would tell nothing. What can
    have changed is what lies in the store, and what this machine makes of it.
    """
    limit = before.config.retrain.age_limit
    if champion is None or limit is None:
        return built
    created = now().fromtimestamp(champion.created / 1000, tz=now().tzinfo)
    seen = max(created, last_review(project, champion.version) or created)
    age = now() - seen
    if age < limit:
        return built
    from secateur.workflow.reproduction import score_again

    scored = score_again(project, before.registry, before.config, version=champion.version)
    old = f"the champion, version {champion.version}, is older than retrain.max_age={before.config.retrain.max_age}"
    if scored.problem is not None:
        return replace(built, action="held", reason=f"{old}, and {scored.problem}")
    remember_review(project, champion.version)
    return replace(built, action="verified", reason=f"{old}: its files are intact, {scored.summary}")


def _version(entry: "RegisteredVersion | None") -> str | None:
    return None if entry is None else entry.version


def require_kept(done: Retraining) -> None:
    """Turn a hold into exit code 1.

    Raises:
        CheckFailed: the run was held.
    """
    if done.action == "held":
        raise CheckFailed(f"held: {done.reason}")

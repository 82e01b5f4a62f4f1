"""``retrain``: look at the source again; leave it, or build, judge the rows and the model, and promote or hold.

Nothing here imports torch or Prefect before something is stale.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from secateur.errors import DataError
from secateur.registry.before_retraining import (
    Before,
    held,
    instead_of_judging,
    judge_rows,
    look,
    push,
    version_of,
)
from secateur.registry.news import failures_told, tell_hold
from secateur.registry.tags import CHALLENGER, CHAMPION
from secateur.scheduling.live import read_live
from secateur.scheduling.retraining import Retraining, now, record, remember_hold
from secateur.sources.locations import expand, locate
from secateur.workflow.driver import run_stage
from secateur.workflow.full_form import function_of
from secateur.workflow.project import Project
from secateur.workflow.report import refresh
from secateur.workflow.stages import find_stage, stages

Builder = Callable[[], list[dict[str, Any]]]
"""Runs what is stale and returns the manifest of every stage."""


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
        live = read_live(project)
        if kept.action == "up to date" and live and live.drift and live.version in (None, kept.champion):
            kept = replace(kept, reason=f"{kept.reason}; {live.drift}: the source needs rows like them")
        record(project, kept)
        if kept.action != "up to date":
            refresh(project)
        return kept

    with failures_told(project, cause=cause):
        with held(project, wait=wait):
            before = look(project)
            if before.moved or before.stale:
                built = _build_if_fit(project, before, build)
            else:
                built = Retraining("up to date", "neither data nor parameters nor code changed")
        if built.action == "held":
            built = replace(built, champion=version_of(before.champion))
            return finished(tell_hold(project, before.config, built))
        return finished(_judge(project, before, built))


def _build_if_fit(project: Project, before: Before, build: Builder) -> Retraining:
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
    first = locate(expand(config.ingest.source, root=project.root)[0], root=project.root, addresses=True)
    from_afar = first.path is None
    if from_afar and (before.moved or store.status("ingest").changed):
        run_stage(project, config, ingest, commit=True)  # such rows can only be looked at when they are here
    conditions = judge_rows(project, before)
    failed = [condition for condition in conditions if not condition.passed]
    kept = tuple(condition.as_json() for condition in conditions)
    if failed:
        reason = "the rows are not fit to train on: " + "; ".join(condition.reason for condition in failed)
        return Retraining("held", reason, changes=tuple(changes), conditions=kept)
    try:
        check(project, config)
    except DataError as error:
        return Retraining("held", f"the rows are not fit to train on: {error}", changes=tuple(changes))
    if before.moved and not from_afar:
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


def _judge(project: Project, before: Before, built: Retraining) -> Retraining:
    """Promote or hold what was built, or what an earlier run left unjudged; else look after the champion."""
    from secateur.registry.mlflow_runs import aliased

    name, config = before.config.register_.model_name, before.config
    champion = aliased(before.registry, name, CHAMPION)
    challenger = aliased(before.registry, name, CHALLENGER)
    built = replace(built, champion=version_of(champion), challenger=version_of(challenger))
    done = instead_of_judging(project, before, built, challenger=challenger, champion=champion)
    if done is not None or challenger is None:
        return done or built
    promote = function_of(project.root, "flows", "promote", "promote")
    verdict = promote(project, reference=f"models:/{name}/{challenger.version}")
    conditions = tuple(
        {"name": c.name, "asked": c.asked, "found": c.found, "passed": c.passed} for c in verdict.conditions
    )
    if verdict.promoted:
        push(before)
        return replace(built, action="promoted", reason=verdict.reason, champion=verdict.version, conditions=conditions)
    if verdict.lasts:
        remember_hold(project, config, challenger=verdict.version, champion=version_of(champion), reason=verdict.reason)
    return replace(built, action="held", reason=verdict.reason, conditions=conditions)

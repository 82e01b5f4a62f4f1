"""What ``retrain`` finds before it does anything, and how it judges the rows and an old champion.

Nothing here imports torch or Prefect before something is stale.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secateur.config.schema import RunConfig
from secateur.errors import Occupied, ProjectError
from secateur.registry.news import tell_hold
from secateur.registry.tags import CHALLENGER, CHAMPION
from secateur.scheduling.retraining import Retraining, judged_before, last_review, now, remember_review
from secateur.scheduling.source_version import moved_sources
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.outcome import nothing_to_do
from secateur.workflow.params import read_config
from secateur.workflow.project import Project, dirty_files, exclusive
from secateur.workflow.rendering import require_current
from secateur.workflow.stages import stages

if TYPE_CHECKING:
    from secateur.data.quality import DataCondition
    from secateur.registry.mlflow_store import ModelRegistry
    from secateur.registry.registered_version import RegisteredVersion
    from secateur.scheduling.drift import ChampionRows

_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Before:
    """What was found before anything was done.

    Attributes:
        config: the parameters.
        store: DVC's side of the project.
        registry: where its models are.
        champion: as the registry describes it; None before the first.
        moved: sources whose version is another, one line each.
        stale: a stage would run.
    """

    config: RunConfig
    store: DvcStore
    registry: "ModelRegistry"
    champion: "RegisteredVersion | None"
    moved: tuple[str, ...]
    stale: bool


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
def held(project: Project, *, wait: bool) -> Iterator[None]:
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


def look(project: Project) -> Before:
    """Look at sources, stages and the registry; the caller holds the workspace.

    Raises:
        ProjectError: the tree is dirty, or dvc.yaml is outdated.
    """
    from secateur.registry.mlflow_runs import aliased
    from secateur.registry.mlflow_store import ModelRegistry

    config = read_config(project)
    require_clean(project)
    require_current(project, config)
    store = DvcStore(project)
    registry = ModelRegistry(project)
    _end_dead_move(registry, config.register_.model_name)
    return Before(
        config=config,
        store=store,
        registry=registry,
        champion=aliased(registry, config.register_.model_name, CHAMPION),
        moved=moved_sources(project, config),
        stale=nothing_to_do(project, stages(config, project.root)) is None,
    )


def _end_dead_move(registry: "ModelRegistry", name: str) -> None:
    """End a promotion that died on its way, as the next one would: none comes where its version is champion by now."""
    from secateur.registry.mlflow_records import Records
    from secateur.registry.mlflow_runs import aliased
    from secateur.registry.transition import recover

    if any(aliased(registry, name, alias) is not None for alias in (CHAMPION, CHALLENGER)):
        recover(Records(registry, name))


def judge_rows(project: Project, before: Before) -> "tuple[DataCondition, ...]":
    """Judge the source against the champion's rows, and write the drift report."""
    from secateur.scheduling import drift

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


def _reference(project: Project, before: Before) -> "tuple[ChampionRows | None, str | None]":
    from secateur.scheduling import drift

    if before.champion is None:
        return None, "there is no champion yet"
    data_md5 = before.champion.tags.data_md5
    if data_md5 is None:
        return None, f"version {before.champion.version} does not say what it was trained from"
    return drift.reference_rows(
        project, before.store, before.config, version=before.champion.version, data_md5=data_md5
    )


def _checkpoint(project: Project, before: Before, reference: "ChampionRows | None") -> Any:
    """Return the champion's verified checkpoint, whose encoder compares the rows."""
    from secateur.registry.model_source import resolve

    if reference is None or not before.config.retrain.drift_rows:
        return None
    name = before.config.register_.model_name
    return resolve(project, f"models:/{name}/{reference.version}", registry=before.registry).checkpoint


def push(before: Before) -> None:
    """Send what ``ingest`` copied to DVC's remote: everything else is rebuilt from it."""
    if before.config.retrain.push:
        before.store.push(list(before.store.output_digests("ingest").values()))


def review(project: Project, before: Before, built: Retraining, champion: "RegisteredVersion | None") -> Retraining:
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
    from secateur.registry.scored_again import score_again

    scored = score_again(project, before.registry, before.config, version=champion.version)
    old = f"the champion, version {champion.version}, is older than retrain.max_age={before.config.retrain.max_age}"
    if scored.problem is not None:
        return tell_hold(project, before.config, replace(built, action="held", reason=f"{old}, and {scored.problem}"))
    remember_review(project, champion.version)
    return replace(built, action="verified", reason=f"{old}: its files are intact, {scored.summary}")


def instead_of_judging(
    project: Project,
    before: Before,
    built: Retraining,
    *,
    challenger: "RegisteredVersion | None",
    champion: "RegisteredVersion | None",
) -> Retraining | None:
    """Return what is done where no challenger is new; None for one that has to be judged.

    One that was held stays so, one that waits for approvals waits, and without any the champion is looked after.
    """
    from secateur.registry.approvals import still_waits

    number = version_of(champion)
    if challenger is None or challenger.version == number:
        return review(project, before, built, champion)
    reason = judged_before(project, before.config, challenger=challenger.version, champion=number)
    if reason is not None:
        reviewed = review(project, before, built, champion)
        if reviewed.action != "up to date":
            return reviewed
        return replace(built, reason=f"{built.reason}; version {challenger.version} stays held: {reason}")
    waits = still_waits(challenger, before.config.promote, champion=number)
    return None if waits is None else replace(built, action="held", reason=f"version {challenger.version} {waits}")


def version_of(entry: "RegisteredVersion | None") -> str | None:
    """Return the number of a version, where there is one."""
    return None if entry is None else entry.version

"""Judging a registered version: first whether its files may be touched at all, then what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed, ModelError, NotJudged, SecateurError
from secateur.gate.condition import UNKNOWN, Condition, JudgedRows
from secateur.gate.shadow import Beside, shadow
from secateur.kinds.registry import kind_named
from secateur.progress import begun
from secateur.registry.fresh_process import Answer, answers_of_folder, require_equal
from secateur.registry.lock import stages_of
from secateur.registry.measurement import answers_here, read_judged_rows
from secateur.registry.model_source import Resolved, kind_of, resolve
from secateur.registry.signing import asked_of_a_challenger
from secateur.registry.tags import GATE, VERDICT, VersionTags
from secateur.registry.unseen import unseen_by
from secateur.scheduling.live import read_live
from secateur.workflow.project import Project

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

UNFORCEABLE = frozenset({"digests", "reload"})
"""Conditions that no reason lifts: such a model would not serve."""

_NUM_SAMPLES = 8


@dataclass(frozen=True)
class Judgement:
    """What came out.

    Attributes:
        conditions: those that could be judged; after digests or loading fail there are no others.
        sample: texts that were predicted in a fresh process, and must come out the same through the alias.
        answers: what the version said about them; empty when it said nothing.
        num_rows: test rows of the workspace.
        test_md5: their version.
        tags: of the version when its files were checked; none when they were not in order.
    """

    conditions: tuple[Condition, ...]
    sample: Sequence[str]
    answers: Sequence[Answer]
    num_rows: int
    test_md5: str
    tags: VersionTags


def judge_version(
    project: Project, config: RunConfig, records: "Records", *, version: str, champion: str | None
) -> Judgement:
    """Judge a version against the champion, on the test rows of today.

    Raises:
        ProjectError: there are no test rows.
        ModelError: a model is one for another task, or reads fewer tokens than ``promote.latency.length``.
    """
    rows = read_judged_rows(project)
    against = "" if champion is None else f" against version {champion}, the champion"
    begun(f"{records.name}: version {version} is judged{against}, on {len(rows.texts)} test rows")
    sample = kind_named(config.run.task).askable(rows.texts[:_NUM_SAMPLES])
    answers: list[Answer] = []
    resolved, condition = _digests(project, config, records, version, is_judged=True)
    conditions = [condition]
    if resolved is not None:
        answers, condition = _reload(resolved, sample, config)
        conditions.append(condition)
    if resolved is not None and condition.passed:
        conditions += _worth(project, config, records, rows, challenger=resolved, champion=champion)
    tags = VersionTags() if resolved is None else resolved.tags
    return Judgement(tuple(conditions), sample, answers, len(rows.texts), rows.md5, tags)


def _digests(
    project: Project, config: RunConfig, records: "Records", version: str, *, is_judged: bool
) -> tuple[Resolved | None, Condition]:
    asked = "every file and tag as it was registered" if is_judged else "every file as it was registered"
    try:
        reference, asked_of_it = f"models:/{records.name}/{version}", asked_of_a_challenger()
        resolved = resolve(
            project,
            reference,
            registry=records.registry,
            signature=asked_of_it,
            all_tags=is_judged,
            but=(GATE, VERDICT),
        )
        _require_kind(resolved, config)
    except CheckFailed as error:
        return None, Condition("digests", asked, "a file that is not", False, str(error))
    return resolved, Condition("digests", asked, "all of them", True, "every file has its digest")


def _require_kind(resolved: Resolved, config: RunConfig) -> None:
    """Refuse a model of another kind than the workspace's.

    Raises:
        ModelError: it is.
    """
    kind = kind_of(resolved.checkpoint)
    if kind != config.run.task:
        raise ModelError(
            f"{resolved.label} is a model for {kind}, run.task of this workspace is {config.run.task}; judge it in the "
            "workspace that made it"
        )


def _reload(resolved: Resolved, sample: Sequence[str], config: RunConfig) -> tuple[list[Answer], Condition]:
    asked = "loads in a fresh process and answers there as here"
    threads = config.promote.latency.num_threads
    try:
        # The fresh process goes first: what ends a process must not end this one.
        found = answers_of_folder(
            resolved.folder, sample, num_threads=threads, timeout_s=config.promote.smoke_timeout_s
        )
        here = answers_here(resolved.folder, sample, num_threads=threads)
        require_equal(found, here, what="a fresh process")
    except NotJudged:
        raise  # a busy machine is no property of the model
    except SecateurError as error:
        return [], Condition("reload", asked, "does not", False, str(error))
    return found, Condition("reload", asked, "does", True, f"{len(found)} texts have the same answers in both")


def _worth(
    project: Project,
    config: RunConfig,
    records: "Records",
    rows: JudgedRows,
    *,
    challenger: Resolved,
    champion: str | None,
) -> list[Condition]:
    models, conditions = {"challenger": challenger}, []
    if champion is not None:
        old, condition = _digests(project, config, records, champion, is_judged=False)
        if old is None:
            conditions.append(_no_comparison(champion, condition.reason))
        else:
            models["champion"] = old
    versions = [str(model.version) for model in models.values()]
    rows, condition = _unseen_rows(project, records, rows, versions=versions, least=config.promote.min_rows)
    conditions.insert(0, condition)
    folders = {name: model.folder for name, model in models.items()}
    kind = kind_named(config.run.task)
    conditions += kind.judge_models(folders, rows, config=config, root=project.root)
    beside = None if champion is None else _beside(project, records.name, (champion, str(challenger.version)))
    judged = shadow(beside, config.promote.shadow, level=config.promote.significance.level)
    return conditions if judged is None or champion is None else [*conditions, judged]


def _beside(project: Project, model: str, versions: tuple[str, str]) -> Beside | None:
    """Return what a server of this project counted of a champion and a challenger."""
    live = read_live(project)
    found = live.shadow if live is not None and live.model == model else None
    if found is None or (found.name, found.champion, found.challenger) != (model, *versions):
        return None
    return Beside(texts=found.texts, disagreed=found.disagreed)


def _no_comparison(champion: str, reason: str) -> Condition:
    return Condition("champion", "a champion to compare with", f"version {champion} cannot be", False, reason)


def _unseen_rows(
    project: Project, records: "Records", rows: JudgedRows, *, versions: Sequence[str], least: int
) -> tuple[JudgedRows, Condition]:
    """Return the test rows that no version was trained on; all of them where the condition fails."""
    asked = f"{least} test rows or more that no version was trained or validated on"
    kept = np.ones(len(rows.texts), np.bool_)
    for version in versions:
        stages = stages_of(records.stored_with_build(version, "dvc.lock"))
        try:
            kept &= unseen_by(project, rows, stages=stages)
        except SecateurError as error:
            reason = f"version {version} may have been trained on these rows: {error}"
            return rows, Condition("test_rows", asked, UNKNOWN, False, reason)
    count = int(kept.sum())
    named = " and ".join(f"version {version}" for version in versions)
    reason = f"{count} of {len(rows.texts)} test rows were kept from the training of {named}"
    values = {"rows": len(rows.texts), "unseen": count}
    condition = Condition("test_rows", asked, str(count), count >= least, reason, values)
    return (rows.take(kept) if condition.passed else rows), condition

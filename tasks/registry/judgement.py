"""Judging a registered version: first whether its files may be touched at all, then what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.config import RunConfig
from secateur.errors import CheckFailed, SecateurError
from secateur.evaluation.gate import Condition, judge
from tasks.project import Project
from tasks.registry.fresh_process import Answer, answers_of_folder, require_equal
from tasks.registry.lock import outputs_of, stages_of
from tasks.registry.measurement import (
    TEST_TABLE,
    JudgedRows,
    answers_here,
    material_of,
    measure,
    read_judged_rows,
)
from tasks.registry.verification import require_intact

if TYPE_CHECKING:
    from tasks.mlflow_records import Records
    from tasks.model_source import Resolved

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
        num_rows: test rows it was judged on.
        test_md5: their version.
    """

    conditions: tuple[Condition, ...]
    sample: Sequence[str]
    answers: Sequence[Answer]
    num_rows: int
    test_md5: str


def judge_version(
    project: Project, config: RunConfig, records: "Records", *, version: str, champion: str | None
) -> Judgement:
    """Judge a version against the champion, on the test rows of today.

    Raises:
        ProjectError: there are no test rows.
        ModelError: a model reads fewer tokens than ``promote.latency.length``.
    """
    rows = read_judged_rows(project)
    sample = list(rows.texts[:_NUM_SAMPLES])
    answers: list[Answer] = []
    resolved, condition = _digests(project, records, version)
    conditions = [condition]
    if resolved is not None:
        answers, condition = _reload(resolved, sample, config)
        conditions.append(condition)
    if resolved is not None and condition.passed:
        conditions += _worth(project, config, records, rows, challenger=resolved, champion=champion)
    return Judgement(tuple(conditions), sample, answers, len(rows.texts), rows.md5)


def _digests(project: Project, records: "Records", version: str) -> "tuple[Resolved | None, Condition]":
    asked = "every file as it was registered"
    try:
        resolved = require_intact(project, f"models:/{records.name}/{version}", registry=records.registry)
    except CheckFailed as error:
        return None, Condition("digests", asked, "a file that is not", False, str(error))
    return resolved, Condition("digests", asked, "all of them", True, "every file has its digest")


def _reload(resolved: "Resolved", sample: Sequence[str], config: RunConfig) -> tuple[list[Answer], Condition]:
    asked = "loads in a fresh process and answers there as here"
    threads = config.promote.latency.num_threads
    try:
        # The fresh process goes first: what ends a process must not end this one.
        found = answers_of_folder(
            resolved.folder, sample, num_threads=threads, timeout_s=config.promote.smoke_timeout_s
        )
        here = answers_here(resolved.folder, sample, num_threads=threads)
        require_equal(found, here, what="a fresh process")
    except SecateurError as error:
        return [], Condition("reload", asked, "does not", False, str(error))
    return found, Condition("reload", asked, "does", True, f"{len(found)} texts have the same answers in both")


def _worth(
    project: Project,
    config: RunConfig,
    records: "Records",
    rows: JudgedRows,
    *,
    challenger: "Resolved",
    champion: str | None,
) -> list[Condition]:
    conditions = [_unseen_rows(records, rows, version=str(challenger.version))]
    models = {"challenger": challenger}
    if champion is not None:
        old, condition = _digests(project, records, champion)
        if old is None:
            conditions.append(_no_comparison(champion, condition.reason))
        else:
            models["champion"] = old
    material = material_of(rows, config)
    answers = measure(models, rows, material=material, config=config)
    conditions += judge(
        material, challenger=answers["challenger"], champion=answers.get("champion"), settings=config.promote
    )
    return conditions


def _no_comparison(champion: str, reason: str) -> Condition:
    return Condition("champion", "a champion to compare with", f"version {champion} cannot be", False, reason)


def _unseen_rows(records: "Records", rows: JudgedRows, *, version: str) -> Condition:
    """Judge on rows that the version cannot have been trained on: those that its own build kept for the test."""
    stages = stages_of(records.stored_with_build(version, "dvc.lock"))
    kept = outputs_of(stages, "clean").get(TEST_TABLE)
    passed = kept == rows.md5
    found = kept or "no dvc.lock was stored with the version"
    reason = (
        f"the build of version {version} kept the same {len(rows.texts)} rows for the test"
        if passed
        else f"version {version} was built from other data ({TEST_TABLE}: {found}) and may have been trained on these "
        "rows; `secateur run` builds one on the data that is here"
    )
    return Condition("test_rows", f"built with these test rows kept apart (md5 {rows.md5})", found, passed, reason)

"""What a promotion and a rollback are made of: a verdict that is carried through, proven, kept and told."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed, ProjectError
from secateur.files import write_json
from secateur.gate.condition import Condition
from secateur.registry.fresh_process import Answer, answers_of_version, require_equal
from secateur.registry.history import Event
from secateur.registry.model_source import Resolved, listing_of, resolve
from secateur.registry.tags import DIGESTS, MANIFEST
from secateur.registry.transition import move_champion, recover
from secateur.registry.verdict import APPROVALS, Verdict
from secateur.registry.who import now, who_asks
from secateur.workflow.project import Project
from secateur.workflow.results import read_json

if TYPE_CHECKING:
    from secateur.registry.judgement import Judgement
    from secateur.registry.mlflow_records import Records

GATE = "reports/gate.json"

logger = logging.getLogger(__name__)


def open_records(project: Project, reference: str) -> "Records":
    """Return the records of the model that a reference names, after an unfinished move of its champion was ended.

    Raises:
        ModelError: there is no such model.
    """
    from secateur.registry.mlflow_records import Records
    from secateur.registry.mlflow_store import ModelRegistry, parse_reference

    records = Records(ModelRegistry(project), parse_reference(reference)[0])
    try:
        ended = recover(records)
    except ProjectError as error:
        logger.warning("an unfinished move of the champion of %s stays as it is: %s", records.name, error)
        return records
    if ended is not None:
        logger.warning("an unfinished move of the champion of %s was ended: %s", records.name, ended.describe())
    return records


def reason_of(conditions: Sequence[Condition], *, force_reason: str | None) -> str:
    """Say in a line what a verdict rests on."""
    failed = [condition for condition in conditions if not condition.passed]
    if not failed:
        return f"all {len(conditions)} conditions hold"
    said = failed[0].reason if failed[0].name == APPROVALS else f"{failed[0].name}: {failed[0].reason}"
    if len(failed) > 1:
        said += f" (and {', '.join(condition.name for condition in failed[1:])})"
    return said if force_reason is None else f"{said}; forced: {force_reason}"


def carry_through(
    project: Project,
    config: RunConfig,
    records: "Records",
    verdict: Verdict,
    judgement: "Judgement",
    *,
    why: str | None,
    approvals: str | None = None,
) -> tuple[Verdict, Event | None]:
    """Move the alias; the verdict that comes back has one condition more, ``smoke``.

    A signature is made between the proof and the move, so that nobody who asks for one meets a champion without.
    """
    from secateur.registry.signing import asked_of_a_challenger, sign_if_asked

    reference = f"models:/{records.name}/{verdict.version}"
    asked = f"{reference} answers by MLflow in a fresh process as it was judged"

    def prove() -> None:
        resolved = resolve(project, reference, registry=records.registry, signature=asked_of_a_challenger())
        if any(resolved.tags.get(tag) != judgement.tags.get(tag) for tag in (*DIGESTS, MANIFEST)):
            raise CheckFailed(f"{reference} has other digests than a moment ago, when it was judged")
        require_equal(answers_of(resolved, config, judgement.sample), judgement.answers, what="the version")
        sign_if_asked(records, verdict.version, tags=resolved.tags, files=listing_of(resolved)[0])

    smoke = Condition("smoke", asked, "does", True, f"{len(judgement.sample)} texts have the same answers")
    conditions = (*verdict.conditions, smoke)
    reason = verdict.reason if verdict.forced else reason_of(conditions, force_reason=None)
    try:
        event = move_champion(
            records,
            verdict.version,
            from_=verdict.champion_before,
            what="promoted",
            why=why or reason,
            forced=verdict.forced,
            prove=prove,
            approvals=approvals,
        )
    except CheckFailed as error:
        back = verdict.champion_before
        found = f"{error}; " + (f"version {back} is the champion still" if back else "there is no champion still")
        fails = Condition("smoke", asked, "does not", False, found)
        return Verdict(False, False, verdict.version, back, (*verdict.conditions, fails), f"smoke: {found}"), None
    if event.what == "restored":  # somebody moved the alias by other means meanwhile
        found = f"not promoted: {event.why}"
        return Verdict(False, False, verdict.version, verdict.champion_before, conditions, found), None
    return Verdict(True, verdict.forced, verdict.version, verdict.champion_before, conditions, reason), event


def answers_of(resolved: Resolved, config: RunConfig, sample: Sequence[str]) -> list[Answer]:
    """Ask a version in a fresh process, with the threads and within the time that ``promote`` gives it.

    Raises:
        CheckFailed: it does not answer.
    """
    threads, timeout_s = config.promote.latency.num_threads, config.promote.smoke_timeout_s
    return answers_of_version(resolved, sample, num_threads=threads, timeout_s=timeout_s)


def write_gate(
    project: Project, records: "Records", verdict: Verdict, judgement: "Judgement", *, why: str | None
) -> None:
    """Write ``reports/gate.json``, which the page shows."""
    context = {
        "model": records.name,
        "when": now(),
        "who": who_asks(),
        "why": why,
        "test_rows": judgement.num_rows,
        "test_md5": judgement.test_md5,
    }
    write_json(project.root / GATE, {**verdict.as_json(), **context})


def write_rollback(project: Project, model: str, event: Event) -> None:
    """Note in ``reports/gate.json`` that the model of its verdict was rolled back."""
    if (verdict := read_json(project.root / GATE)).get("model") == model:
        write_json(project.root / GATE, {**verdict, "rolled_back": event.as_json()})

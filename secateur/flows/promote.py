"""``promote``: challenger to champion, through the gate; and back."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed, ConfigError, ModelError, ProjectError
from secateur.evaluation.judged import Condition
from secateur.files import write_json
from secateur.registry.announcement import post
from secateur.registry.fresh_process import Answer, answers_of_version, require_equal
from secateur.registry.history import Event, now, who_asks
from secateur.registry.model_source import Resolved, resolve
from secateur.registry.tags import CHALLENGER, CHAMPION, DIGESTS, PREVIOUS
from secateur.registry.transition import move_champion, recover, require_idle
from secateur.registry.verdict import Verdict, keep
from secateur.workflow.announce import emit
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.report import refresh
from secateur.workflow.results import read_json

if TYPE_CHECKING:
    from secateur.registry.judgement import Judgement
    from secateur.registry.mlflow_records import Records

__all__ = ["GATE", "Condition", "Verdict", "promote", "rollback"]

GATE = "reports/gate.json"

_GREETINGS: Mapping[str, Sequence[str]] = {
    "classification": ("a text", "another one, somewhat longer than the first", "?"),
    "generation": ("", "?"),  # a character may take several tokens, and the context be short
}
"""Any texts: what a rolled back model says was judged when it was promoted."""

logger = logging.getLogger(__name__)


def promote(
    project: Project,
    *,
    model_name: str | None = None,
    reference: str | None = None,
    force_reason: str | None = None,
    why: str | None = None,
) -> Verdict:
    """Judge a version, and make it the champion when every condition holds.

    The verdict is kept with the version and in ``reports/gate.json``. The version must answer by MLflow in a fresh
    process before the alias moves; else it does not move, and the verdict says so.

    Args:
        project: its params.yaml holds the thresholds, its test rows are judged on.
        model_name: None takes ``register.model_name``.
        reference: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; None takes the challenger of the model.
        force_reason: promotes although conditions fail; digests and loading are never forced.
        why: kept in the history when nothing is forced.

    Raises:
        ConfigError: ``force_reason`` is empty.
        ModelError: no such model or alias.
        CheckFailed: the version is not signed as the environment asks.
        ProjectError: there are no test rows, or another promotion is under way.
    """
    if force_reason is not None and not force_reason.strip():
        raise ConfigError("a forced promotion needs a reason: --force --reason TEXT")
    config = read_config(project)
    reference = reference or f"models:/{model_name or config.register_.model_name}@{CHALLENGER}"
    records = open_records(project, reference)
    require_idle(records)
    version = records.find(reference)
    champion = records.alias(CHAMPION)
    if version == champion:
        return Verdict(False, False, version, champion, (), f"version {version} is the champion already")
    from secateur.registry.judgement import UNFORCEABLE, judge_version
    from secateur.registry.signing import asked_of_a_challenger, require_signature

    require_signature(records.name, version, records.version_tags(version), asked_of_a_challenger())
    judgement = judge_version(project, config, records, version=version, champion=champion)
    failed = [condition for condition in judgement.conditions if not condition.passed]
    forced = bool(failed) and force_reason is not None and not UNFORCEABLE & {condition.name for condition in failed}
    reason = _reason(judgement.conditions, force_reason if forced else None)
    verdict = Verdict(False, forced, version, champion, judgement.conditions, reason)
    keep(records, verdict)
    event = None
    if forced or not failed:
        verdict, event = _carry_through(project, config, records, verdict, judgement, why=force_reason or why)
        keep(records, verdict)
    _write(project, records, verdict, judgement, why=force_reason or why)
    refresh(project)
    if event is not None:
        _announce(config, records.name, event)
    return verdict


def rollback(project: Project, *, model_name: str | None = None, why: str | None = None) -> Event:
    """Make the previous champion the champion again; before that it must answer in a fresh process.

    Raises:
        ModelError: no such model, no champion yet, or none before it.
        CheckFailed: a file of it is not what was registered, it is not signed as the environment asks, or it does not
            answer; the champion is the one it was.
    """
    config = read_config(project)
    name = model_name or config.register_.model_name
    records = open_records(project, name)
    require_idle(records)
    champion = records.find(f"models:/{name}@{CHAMPION}")
    to = records.alias(PREVIOUS)
    if to is None:
        raise ModelError(
            f"{name} has no champion before version {champion}; `secateur models history {name}` shows all"
        )

    resolved = resolve(project, f"models:/{name}/{to}", registry=records.registry)

    def prove() -> None:
        _answers(resolved, config, _GREETINGS[config.run.task])

    reason = why or f"rolled back from version {champion}"
    event = move_champion(records, to, from_=champion, what="rolled_back", why=reason, forced=False, prove=prove)
    if (verdict := read_json(project.root / GATE)).get("model") == name:
        write_json(project.root / GATE, {**verdict, "rolled_back": event.as_json()})
    refresh(project)
    _announce(config, name, event)
    return event


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


def _reason(conditions: Sequence[Condition], force_reason: str | None) -> str:
    failed = [condition for condition in conditions if not condition.passed]
    if not failed:
        return f"all {len(conditions)} conditions hold"
    said = f"{failed[0].name}: {failed[0].reason}"
    if len(failed) > 1:
        said += f" (and {', '.join(condition.name for condition in failed[1:])})"
    return said if force_reason is None else f"{said}; forced: {force_reason}"


def _carry_through(
    project: Project,
    config: RunConfig,
    records: "Records",
    verdict: Verdict,
    judgement: "Judgement",
    *,
    why: str | None,
) -> tuple[Verdict, Event | None]:
    """Move the alias; the verdict that comes back has one condition more, ``smoke``.

    A signature is made between the proof and the move, so that nobody who asks for one meets a champion without.
    """
    from secateur.registry.signing import asked_of_a_challenger, sign_if_asked

    reference = f"models:/{records.name}/{verdict.version}"
    asked = f"{reference} answers by MLflow in a fresh process as it was judged"

    def prove() -> None:
        resolved = resolve(project, reference, registry=records.registry, signature=asked_of_a_challenger())
        if any(resolved.tags.get(tag) != judgement.tags.get(tag) for tag in DIGESTS):
            raise CheckFailed(f"{reference} has other digests than a moment ago, when it was judged")
        require_equal(_answers(resolved, config, judgement.sample), judgement.answers, what="the version")
        sign_if_asked(records, verdict.version, tags=resolved.tags)

    try:
        event = move_champion(
            records,
            verdict.version,
            from_=verdict.champion_before,
            what="promoted",
            why=why or verdict.reason,
            forced=verdict.forced,
            prove=prove,
        )
    except CheckFailed as error:
        back = verdict.champion_before
        reason = f"{error}; " + (f"version {back} is the champion still" if back else "there is no champion still")
        smoke = Condition("smoke", asked, "does not", False, reason)
        return Verdict(False, False, verdict.version, back, (*verdict.conditions, smoke), f"smoke: {reason}"), None
    smoke = Condition("smoke", asked, "does", True, f"{len(judgement.sample)} texts have the same answers")
    conditions = (*verdict.conditions, smoke)
    reason = verdict.reason if verdict.forced else _reason(conditions, None)
    return Verdict(True, verdict.forced, verdict.version, verdict.champion_before, conditions, reason), event


def _answers(resolved: Resolved, config: RunConfig, sample: Sequence[str]) -> list[Answer]:
    threads, timeout_s = config.promote.latency.num_threads, config.promote.smoke_timeout_s
    return answers_of_version(resolved, sample, num_threads=threads, timeout_s=timeout_s)


def _write(project: Project, records: "Records", verdict: Verdict, judgement: "Judgement", *, why: str | None) -> None:
    context = {
        "model": records.name,
        "when": now(),
        "who": who_asks(),
        "why": why,
        "test_rows": judgement.num_rows,
        "test_md5": judgement.test_md5,
    }
    write_json(project.root / GATE, {**verdict.as_json(), **context})


def _announce(config: RunConfig, model: str, event: Event) -> None:
    payload = {"event": f"secateur.{event.what}", "model": model, **event.as_json()}
    emit(event.what, model=model, payload=payload)
    if config.promote.webhook is not None:
        problem = post(config.promote.webhook, payload, timeout_s=config.promote.webhook_timeout_s)
        if problem is not None:
            logger.warning("%s; version %s is the champion all the same", problem, event.to)

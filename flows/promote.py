"""``promote``: challenger to champion, through the gate; and back."""

from secateur.errors import ConfigError, ModelError
from secateur.kinds.registry import kind_named
from secateur.registry.history import Event
from secateur.registry.history_check import tell_history
from secateur.registry.model_source import resolve
from secateur.registry.news import tell_event, tell_verdict
from secateur.registry.promotion import (
    answers_of,
    carry_through,
    open_records,
    reason_of,
    write_gate,
    write_rollback,
)
from secateur.registry.tags import CHALLENGER, CHAMPION, PREVIOUS
from secateur.registry.transition import move_champion, require_idle
from secateur.registry.verdict import Verdict, keep
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.report import refresh


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
        force_reason: promotes although conditions fail or approvals are missing; digests and loading are never forced.
        why: kept in the history when nothing is forced.

    Raises:
        ConfigError: ``force_reason`` is empty; or approvals are asked of keys that are not known, or lifted by force
            without a key.
        ModelError: no such model or alias.
        CheckFailed: the version is not signed as the environment asks.
        ProjectError: there are no test rows, or another promotion is under way.
    """
    from secateur.registry.approvals import approvals_asked
    from secateur.registry.judgement import UNFORCEABLE, judge_version
    from secateur.registry.signing import asked_of_a_challenger, require_signature

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
    require_signature(records.name, version, records.version_tags(version), asked_of_a_challenger())
    people = approvals_asked(config, records, version, forced=force_reason is not None)
    judgement = judge_version(project, config, records, version=version, champion=champion)
    people.require_same(judgement.tags)
    conditions = (*judgement.conditions, *people.conditions)
    failed = [condition for condition in conditions if not condition.passed]
    forced = bool(failed) and force_reason is not None and not UNFORCEABLE & {condition.name for condition in failed}
    reason = reason_of(conditions, force_reason=force_reason if forced else None)
    verdict = Verdict(False, forced, version, champion, conditions, reason)
    keep(records, verdict)
    event = None
    if forced or not failed:
        verdict, event = carry_through(
            project, config, records, verdict, judgement, why=force_reason or why, approvals=people.keys
        )
        keep(records, verdict)
    write_gate(project, records, verdict, judgement, why=force_reason or why)
    refresh(project)
    if event is not None:
        tell_event(project, config, records.name, event)
    else:
        tell_verdict(project, config, records.name, verdict)
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
    tell_history(records)

    def prove() -> None:
        answers_of(resolved, config, kind_named(config.run.task).greetings)

    reason = why or f"rolled back from version {champion}"
    event = move_champion(records, to, from_=champion, what="rolled_back", why=reason, forced=False, prove=prove)
    write_rollback(project, name, event)
    refresh(project)
    tell_event(project, config, name, event)
    return event

"""``models promote`` and ``models rollback``: who is the champion."""

import json
import sys
from typing import TYPE_CHECKING

import click

from secateur.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from secateur.registry.history import Event
    from secateur.registry.verdict import Verdict


@click.command()
@click.argument("reference", metavar="[models:/NAME@challenger]", required=False)
@click.option("--force", is_flag=True, help="Promote although a condition fails; needs --reason.")
@click.option("--reason", help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def promote(reference: str | None, force: bool, reason: str | None, as_json: bool) -> None:
    """Make the challenger the champion, through the gate.

    The conditions stand in the section promote of params.yaml; the verdict is kept with the version and in
    reports/gate.json. The version must answer in a fresh process before the alias moves, else it does not move.
    Exit code 1 when the challenger is held, or waits for approvals (promote.approvals).

    Example: secateur models promote models:/tweets-sentiment@challenger
    """
    if force and not (reason or "").strip():
        raise ConfigError('--force needs a reason that the history can keep: --force --reason "..."')
    from secateur.cli import promotion_display
    from secateur.workflow.full_form import function_of
    from secateur.workflow.project import find_project

    project = find_project()
    promote_: Callable[..., Verdict] = function_of(project.root, "flows", "promote", "promote")
    verdict = promote_(
        project, reference=reference, force_reason=reason if force else None, why=None if force else reason
    )
    if as_json:
        click.echo(json.dumps(verdict.as_json(), indent=2, ensure_ascii=False))
    else:
        promotion_display.verdict(verdict)
    if not verdict.promoted and verdict.version != verdict.champion_before:
        sys.exit(1)


@click.command()
@click.argument("reference", metavar="models:/NAME@ALIAS|models:/NAME/VERSION")
@click.option("--reason", default="", help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="Print the approval as JSON.")
def approve(reference: str, reason: str, as_json: bool) -> None:
    """Sign that a version may become the champion, with the key in SECATEUR_SIGNING_KEY.

    promote.approvals in params.yaml says how many keys must have signed, promote.approvers which keys count. What is
    signed is the version's manifest; the same key counts once.

    Example: secateur models approve models:/tweets-sentiment@challenger --reason "looked at 50 changed answers"
    """
    from dataclasses import asdict

    from secateur.registry.approvals import approve as approve_
    from secateur.registry.promotion import open_records
    from secateur.verification.keys import SIGNING_VARIABLE, signing_key
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project

    key = signing_key()
    if key is None:
        raise ConfigError(f"{SIGNING_VARIABLE} is not set; it holds hmac:SECRET, ed25519:BASE64 or ecdsa:BASE64")
    project = find_project()
    records, section = open_records(project, reference), read_config(project).promote
    found = approve_(records, records.find(reference), key, section=section, why=reason)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        click.echo(f"models:/{found.model}/{found.version} is approved by {found.who} with {key.algorithm} {key.id}")


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--reason", help="Kept in the history.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rollback(name: str | None, reason: str | None, as_json: bool) -> None:
    """Make the previous champion the champion again.

    It must answer in a fresh process first, else nothing changes. Once more goes one further back. NAME is
    register.model_name when it is left out.

    Example: secateur models rollback --reason "complaints about sarcasm"
    """
    from secateur.workflow.full_form import function_of
    from secateur.workflow.project import find_project

    project = find_project()
    rollback_: Callable[..., Event] = function_of(project.root, "flows", "promote", "rollback")
    event = rollback_(project, model_name=_name(name), why=reason)
    if as_json:
        click.echo(json.dumps(event.as_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(event.describe())


def _name(reference: str | None) -> str | None:
    """Return the name in ``NAME`` or ``models:/NAME``; a version or alias is not asked for here."""
    if reference is None:
        return None
    name = reference.removeprefix("models:/")
    if "@" in name or "/" in name:
        raise ConfigError(f"{reference} names a version; a rollback takes the model's name and goes to @previous")
    return name

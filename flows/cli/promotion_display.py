"""What the terminal shows of promotions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from flows.cli.display import plain, show, table

if TYPE_CHECKING:
    from tasks.registry.history import Event
    from tasks.registry.verdict import Verdict


def verdict(found: "Verdict") -> None:
    """Print every condition, then what followed."""
    if found.conditions:
        made = table("", "condition", "", "asked", "found", "because")
        for condition in found.conditions:
            mark = "[green]holds[/]" if condition.passed else "[red]fails[/]"
            made.add_row(condition.name, mark, plain(condition.asked), plain(condition.found), plain(condition.reason))
        show(made)
    before = f"it was version {found.champion_before}" if found.champion_before else "there was none"
    if found.version == found.champion_before:
        click.echo(found.reason)
    elif found.promoted:
        click.echo(f"version {found.version} is the champion, {before}: {found.reason}")
    else:
        click.echo(f"version {found.version} is held: {found.reason}")


def history(found: "Sequence[Event]") -> None:
    """Print who became champion, when, by whom and why; oldest first."""
    if not found:
        click.echo("no champion yet; `secateur models promote` makes one")
        return
    made = table("", ">#", "when", "what", ">from", ">to", "who", "why")
    for event in found:
        what = event.what.replace("_", " ") + (" [yellow]by force[/]" if event.forced else "")
        made.add_row(
            str(event.number), event.when, what, event.from_ or "", event.to, plain(event.who), plain(event.why)
        )
    show(made)

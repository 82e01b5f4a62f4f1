"""What the terminal shows of promotions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from secateur.cli.display import plain, show, table

if TYPE_CHECKING:
    from secateur.registry.history import Event
    from secateur.registry.lineage import Node
    from secateur.registry.verdict import Verdict


def verdict(found: "Verdict") -> None:
    """Print every condition with its reason, which says what was asked and what was found, then what followed."""
    if found.conditions:
        made = table("", "condition", "", "because")
        for condition in found.conditions:
            mark = "[green]holds[/]" if condition.passed else "[red]fails[/]"
            made.add_row(condition.name.replace("_", " "), mark, plain(condition.reason or condition.found))
        show(made)
    before = f"it was version {found.champion_before}" if found.champion_before else "there was none"
    if found.version == found.champion_before:
        click.echo(found.reason)
    elif found.promoted:
        click.echo(f"version {found.version} is the champion, {before}: {found.reason}")
    else:
        click.echo(f"version {found.version} {'' if found.waits else 'is held: '}{found.reason}")


def history(found: "Sequence[Event]") -> None:
    """Print who became champion, when, by whom and why; oldest first."""
    if not found:
        click.echo("no champion yet; `secateur models promote` makes one")
        return
    made = table("", ">#", "when", "what", ">from", ">to", "who", "why")
    for column in made.columns[:3]:
        column.no_wrap = True
    for event in found:
        what = event.what.replace("_", " ") + (" [yellow]by force[/]" if event.forced else "")
        made.add_row(
            str(event.number),
            plain(event.when),
            what,
            plain(event.from_ or ""),
            plain(event.to),
            plain(event.who),
            plain(event.why),
        )
    show(made)


def tree(root: "Node") -> None:
    """Print what a version was made of, each step under what it was made from."""
    from rich.console import Console
    from rich.tree import Tree

    def grow(parent: Tree, node: "Node") -> None:
        facts = ", ".join(f"{name} {value}" for name, value in node.facts.items() if value not in (None, ""))
        branch = parent.add(f"[bold]{node.what}[/] {plain(node.name)}  {plain(facts)}")
        for child in node.children:
            grow(branch, child)

    top = Tree("", hide_root=True)
    grow(top, root)
    Console(highlight=False, emoji=False).print(top)

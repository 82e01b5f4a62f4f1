"""``gc``: what nothing refers to goes."""

import json
import sys
from typing import TYPE_CHECKING

import click

from secateur.files import shown_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secateur.space.unreferenced import Unreferenced


@click.command()
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table; removes with --yes alone.")
def gc(yes: bool, as_json: bool) -> None:
    """Show what no commit, no dvc.lock and no registered version refers to, and remove it after a question.

    That is objects of DVC's cache, and in .secateur copies of source code, exports, downloaded versions and
    half-written files. What the rebuild of a registered version starts from stays. Without a terminal it removes
    with --yes alone. A remote is left as it is.

    Example: secateur gc --yes
    """
    from secateur.space.needed import needed
    from secateur.space.unreferenced import remove_unreferenced, unreferenced
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.project import exclusive, find_project

    project = find_project()
    with exclusive(project):
        store, kept = DvcStore(project), needed(project)
        found = unreferenced(project, store, kept)
        total = sum(group.bytes for group in found)
        if not as_json:
            _show(found, total)
            if store.has_shared_cache:
                click.echo("DVC's cache lies outside of the project and may be that of others: it is left as it is")
        goes = bool(found) and (yes or (not as_json and sys.stdin.isatty() and click.confirm("remove all of it?")))
        if goes:
            remove_unreferenced(found, store, kept)
    if as_json:
        groups = [
            {"what": one.what, "count": len(one.paths), "bytes": one.bytes, "paths": sorted(map(str, one.paths))}
            for one in found
        ]
        click.echo(json.dumps({"removed": goes, "bytes": total, "found": groups}, indent=2))
    elif found:
        click.echo(
            f"{shown_bytes(total)} removed" if goes else "nothing was removed; `secateur gc --yes` removes all of it"
        )


def _show(found: "Sequence[Unreferenced]", total: int) -> None:
    from secateur.cli import display

    if not found:
        click.echo("nothing to remove: something refers to all that is kept")
        return
    made = display.table("", "nothing refers to", ">how many", ">size")
    for group in found:
        made.add_row(group.what, f"{len(group.paths):,}".replace(",", " "), shown_bytes(group.bytes))
    made.add_row("all together", str(sum(len(group.paths) for group in found)), shown_bytes(total))
    display.show(made)

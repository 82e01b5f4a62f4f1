"""What the terminal shows of what a run would do, and why."""

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console

from secateur.cli.display import plain, show, table

if TYPE_CHECKING:
    from secateur.config.effective import Effective
    from secateur.workflow.explain import Explanation
    from secateur.workflow.params import Change
    from secateur.workflow.project import Project

_WOULD = {
    "up to date": "do nothing",
    "run": "run",
    "restore": "be restored from the cache",
    "measure": "write again what is never compared",
    "run if upstream changes": "run if what it reads changes",
}
"""What a stage would do in a run: ``plan`` and ``why`` say it in the same words."""
_CODE = "code "
"""How a cause begins that names a changed file of code."""
_VERDICT_STYLE = {"up to date": "green", "restore": "cyan", "run": "yellow", "measure": "cyan"}


def plan_table(explained: "Sequence[Explanation]", *, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        values = [
            {"stage": e.stage, "verdict": e.verdict, "causes": list(e.causes), "upstream": list(e.upstream)}
            for e in explained
        ]
        click.echo(json.dumps(values, indent=2))
        return
    made = table("", "stage", "would", "because")
    told: set[str] = set()
    for entry in explained:
        style = _VERDICT_STYLE.get(entry.verdict, "yellow")
        made.add_row(entry.stage, f"[{style}]{_WOULD[entry.verdict]}[/]", plain("; ".join(_reasons(entry, told))))
        told |= set(entry.causes)
    show(made)


def _reasons(entry: "Explanation", told: Collection[str]) -> list[str]:
    """Return the causes in a few words: of files of code that changed, those that no earlier stage has told.

    Of many only how many, and the command that names them.
    """
    files = [cause for cause in entry.causes if cause.startswith(_CODE)]
    new = [cause for cause in files if cause not in told]
    rest = [cause.splitlines()[0] for cause in entry.causes if cause not in files or (cause in new and len(new) <= 2)]
    if len(new) > 2:
        rest.append(f"{len(new)} files of its code differ (`secateur why {entry.stage}`)")
    if again := len(files) - len(new):
        rest.append(f"{again} of the files of code above")
    if entry.upstream:
        rest.append("depends on " + ", ".join(entry.upstream))
    return rest


def planned_change(project: "Project", change: "Change", *, as_json: bool) -> None:
    """Print which stages read a parameter that ``-S`` or ``--params`` would change or name, without writing it."""
    from secateur.config.effective import effective
    from secateur.workflow.explain import ancestors
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import stages

    before = {entry.name: entry for entry in effective(read_config(project))}
    after = {entry.name: entry for entry in effective(change.config)}
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    graph = stages(change.config, project.root)
    readers = {
        stage.address: [
            name for name in changed if any(name == key or name.startswith(f"{key}.") for key in stage.keys)
        ]
        for stage in graph
    }
    if as_json:
        click.echo(json.dumps({"changed": changed, "stages": readers}, indent=2))
        return
    made = table("", "stage", "would", "because")
    touched: set[str] = set()
    for address, names in readers.items():
        shown = ", ".join(_change_of(name, before.get(name), after.get(name)) for name in names)
        upstream = [one for one in readers if one in touched & ancestors(graph, address)]
        verdict = "run" if names else "run if upstream changes" if upstream else "up to date"
        if verdict != "up to date":
            touched.add(address)
        style = _VERDICT_STYLE.get(verdict, "yellow")
        made.add_row(address, f"[{style}]{_WOULD[verdict]}[/]", plain(shown))
    show(made)


def _change_of(name: str, before: "Effective | None", after: "Effective | None") -> str:
    """Say what becomes of a parameter; DVC also asks which of them params.yaml gives."""
    if before is not None and after is not None and before.value == after.value:
        given = after.origin == "params.yaml"
        return f"{name}: {after.value}, its default, is {'given' if given else 'no longer given'}"
    return f"{name}: {before and before.value} -> {after and after.value}"


def why(address: str, chain: "Sequence[Explanation]") -> None:
    """Print the causes from the first changed stage down to the one asked for."""
    console = Console(highlight=False, emoji=False)
    target = chain[-1]
    relevant = [entry for entry in chain if entry.verdict != "up to date"]
    if not relevant:
        console.print(f"{address} is up to date: command, code, inputs, parameters and outputs agree with dvc.lock")
        return
    if target.verdict == "up to date":
        console.print(f"{address} itself is up to date; earlier stages are not:")
    told: set[str] = set()
    for entry in relevant:
        console.print(f"[bold]{entry.stage}[/bold] would {_WOULD[entry.verdict]}", markup=True)
        again = [cause for cause in entry.causes if cause in told and cause.startswith(_CODE)]
        for cause in entry.causes:
            if cause not in again:
                console.print("  " + cause.replace("\n", "\n  "), markup=False)
        if again:
            console.print(f"  {len(again)} of the files of code above", markup=False)
        if entry.upstream:
            console.print(f"  it depends on {', '.join(entry.upstream)}", markup=False)
        told |= set(entry.causes)

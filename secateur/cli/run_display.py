"""What the terminal shows at the end of a run: what was done, and the dense model against the rounds."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from secateur.cli.display import ACTION_STYLE, duration, paragraph, show, table
from secateur.cli.results_display import called, results_table, time_of, wide_table
from secateur.workflow.results import comparison, kind_of, read_json, reference

if TYPE_CHECKING:
    from secateur.kinds.base import Kind
    from secateur.workflow.outcome import Outcome
    from secateur.workflow.project import Project


def run_summary(
    project: "Project", outcomes: "Sequence[Outcome]", *, seconds: float, wide: bool, as_json: bool
) -> None:
    """Print what there is to say first, the dense model against the rounds, and what every stage did."""
    rows = comparison(project.root)
    if as_json:
        stages = [
            {"stage": o.stage, "action": o.action, "seconds": round(o.seconds, 3), "key": o.key} for o in outcomes
        ]
        click.echo(json.dumps({"stages": stages, "seconds": round(seconds, 3), "models": rows}, indent=2))
        return
    show(_stages(outcomes))
    if rows:
        _show_results(project, rows, wide=wide)
    click.echo()
    executed = sum(outcome.action == "run" for outcome in outcomes)
    page = project.root / "reports" / "report.html"
    click.echo(f"{executed} of {len(outcomes)} stages executed in {duration(seconds)}")
    if page.exists():
        click.echo(f"report: {page.relative_to(project.root)}")


def _stages(outcomes: "Sequence[Outcome]") -> Table:
    listed = table("Stages", "stage", "", ">time", "key")
    for outcome in outcomes:
        style = ACTION_STYLE[outcome.action]
        listed.add_row(
            outcome.stage,
            f"[{style}]{outcome.action}[/]",
            duration(outcome.seconds) if outcome.seconds else "",
            outcome.key[:12],
        )
    return listed


def _show_results(project: "Project", rows: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    from secateur.workflow.headline import headline_of

    said = headline_of(project.root)
    if said is not None:
        paragraph(said.sentence, style="bold")
        if said.rule:
            paragraph(said.rule)
    kind, details = kind_of(project.root), read_json(project.root / "reports" / "details.json")
    if wide:
        show(wide_table(rows, kind=kind), wide=True)
    else:
        show(results_table(rows, kind=kind, details=details))
        paragraph(_note(rows, kind=kind, deployed=str(details.get("deployed") or "torch")), style="dim")
    _say_simple(kind, reference(project.root))


def _note(rows: Sequence[Mapping[str, Any]], *, kind: "Kind", deployed: str) -> str:
    """Say what the table compares, and where the rest is."""
    dense, parts = rows[0], []
    if promised := next((row for row in rows if row.get("budget") == "max_drop"), None):
        unit = kind.presentation().scale.unit_of_loss(kind.measure.title)
        parts.append(f"{called(promised)}: may lose at most {100 * promised['budget_asked']:g} {unit} on validation")
    if time_of(dense, deployed) is None:
        parts.append(f"no times: evaluate.latency.runtimes does not name {deployed}")
    elif (slow := time_of(dense, "torch")) is not None:
        parts.append(f"speed-up: measured, against dense in PyTorch ({slow:.2f} ms)")
    else:
        parts.append("speed-up: measured, against dense in the same form")
    if any(not row.get("accepted", True) and "params" in row for row in rows):
        parts.append("a rolled-back round shows what it tried")
    parts.append("more: --wide, --json, reports/report.html")
    return "; ".join(parts)


def _say_simple(kind: "Kind", found: Mapping[str, Any]) -> None:
    """Say what the simple model beside the others comes to."""
    simple = kind.presentation().simple
    if not found or simple is None:
        return
    paragraph(simple.said(found))
    if found.get("verdict"):
        paragraph(f"{found['verdict']}.", style="bold")

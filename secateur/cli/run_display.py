"""What the terminal shows at the end of a run: what was done, and the dense model against the rounds."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from secateur.cli.display import ACTION_STYLE, duration, number, paragraph, show, table
from secateur.workflow.results import comparison, read_json, reference

if TYPE_CHECKING:
    from secateur.workflow.driver import Outcome
    from secateur.workflow.project import Project

_FORM = {"torch": "PyTorch", "onnx": "ONNX", "onnx-int8": "ONNX int8"}
_DENSE = "baseline"


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
    details = read_json(project.root / "reports" / "details.json")
    if wide:
        show(wide_generation_table(rows) if "perplexity" in rows[0] else wide_table(rows), wide=True)
    else:
        show(results_table(rows, details=details))
        paragraph(_note(rows, deployed=str(details.get("deployed") or "torch")), style="dim")
    _say_reference(reference(project.root))


def results_table(rows: Sequence[Mapping[str, Any]], *, details: Mapping[str, Any]) -> Table:
    """Return what decides, in 80 columns: the deployed form's score and time, its size, and what became of the round.

    The row of a rolled-back round is about what it tried.
    """
    deployed, is_text = str(details.get("deployed") or "torch"), "perplexity" in rows[0]
    name = "perplexity" if is_text else "deployed_macro_f1" if "deployed_macro_f1" in rows[0] else "macro_f1"
    tested = f"{details['test_rows']:,}".replace(",", " ") + " " if "test_rows" in details else ""
    made = table(
        f"Deployed in {_FORM.get(deployed, deployed)}, on {tested}test {'texts' if is_text else 'rows'}",
        "model", f">{'perplexity' if is_text else 'macro-F1'}", f">{_level(details)}",
        f">{'token' if is_text else 'time'}", ">speed-up", ">size", "verdict",
    )  # fmt: skip
    slowest = _time(rows[0], "torch") or _time(rows[0], deployed)
    for row in rows:
        if "params" not in row:
            made.add_row(row["model"], *[""] * 5, "[red]not run[/]")
            continue
        ms, form = _time(row, deployed), "{:.2f}" if is_text else "{:.4f}"
        made.add_row(
            row["model"],
            number(row.get(name), form),
            _interval(row, name, form="{:.2f}" if is_text else "{:.3f}"),
            number(ms, "{:.2f} ms"),
            "" if ms is None or slowest is None else f"{slowest / ms:.1f}x",
            f"{row['deployed_bytes'] / 1e6:.1f} MB" if "deployed_bytes" in row else "",
            _verdict(row),
        )
    return made


def _note(rows: Sequence[Mapping[str, Any]], *, deployed: str) -> str:
    """Say what the table compares, and where the rest is."""
    dense, parts = rows[0], []
    if _time(dense, deployed) is None:
        parts.append(f"no times: evaluate.latency.runtimes does not name {deployed}")
    elif (slow := _time(dense, "torch")) is not None:
        parts.append(f"speed-up: measured, against dense in PyTorch ({slow:.2f} ms)")
    else:
        parts.append("speed-up: measured, against dense in the same form")
    if any(not row.get("accepted", True) and "params" in row for row in rows):
        parts.append("a rolled-back round shows what it tried")
    parts.append("more: --wide, --json, reports/report.html")
    return "; ".join(parts)


def _time(row: Mapping[str, Any], runtime: str) -> float | None:
    found: float | None = row.get(f"{runtime}_ms")
    return found


def _level(details: Mapping[str, Any]) -> str:
    level = details.get("confidence_level")
    return "interval" if level is None else f"{100 * level:g} % interval"


def _interval(row: Mapping[str, Any], name: str, *, form: str) -> str:
    if f"{name}_low" not in row:
        return ""
    return f"{form.format(row[f'{name}_low'])} to {form.format(row[f'{name}_high'])}"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["model"] == _DENSE:
        return "dense"
    return "[green]accepted[/]" if row.get("accepted", True) else "[red]rolled back[/]"


def wide_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return all that was measured of classifiers; speed-up is measured, never derived from sparsity."""
    runtimes = sorted({name.removesuffix("_ms") for row in rows for name in row if name.endswith("_ms")})
    timed = [f">{runtime} {what}" for runtime in runtimes for what in ("ms", "speed-up")]
    made = table(
        "Dense against rounds (test set)",
        "model", ">params", ">MACs", ">macro-F1", ">95 % interval", ">accuracy", ">deployed", ">size", ">attacked",
        *timed, "",
    )  # fmt: skip
    for row in rows:
        if "params" not in row:
            made.add_row(row["model"], *[""] * (8 + len(timed)), "[red]not run[/]")
            continue
        cells = []
        for runtime in runtimes:
            measured = row.get(f"{runtime}_ms")
            cells += ["", ""] if measured is None else [f"{measured:.2f}", f"{row[f'{runtime}_speedup']:.2f}x"]
        made.add_row(
            row["model"],
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.1f} M",
            f"{row['macro_f1']:.4f}",
            _interval(row, "macro_f1", form="{:.3f}"),
            f"{row['accuracy']:.4f}",
            number(row.get("deployed_macro_f1"), "{:.4f}"),
            f"{row['deployed_bytes'] / 1e6:.1f} MB" if "deployed_bytes" in row else "",
            number(row.get("robust_macro_f1"), "{:.4f}"),
            *cells,
            _verdict(row),
        )
    return made


def wide_generation_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return all that was measured of generators; times are of a token and of whole texts."""
    batches = sorted(int(name.rpartition("_")[2]) for name in rows[0] if name.startswith("tokens_per_second_"))
    made = table(
        "Dense against rounds (test texts; lower perplexity is better)",
        "model", ">params", ">MACs", ">perplexity", ">95 % interval", ">per character", ">control", ">size",
        ">ms per token", ">speed-up", *(f">tokens/s, {batch} at once" for batch in batches), "",
    )  # fmt: skip
    for row in rows:
        if "params" not in row:
            made.add_row(row["model"], *[""] * (9 + len(batches)), "[red]not run[/]")
            continue
        made.add_row(
            row["model"],
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.1f} M",
            f"{row['perplexity']:.2f}",
            _interval(row, "perplexity", form="{:.2f}"),
            f"{row['char_perplexity']:.2f}",
            number(row.get("control_accuracy"), "{:.4f}"),
            f"{row['deployed_bytes'] / 1e6:.1f} MB",
            number(row.get("torch_ms"), "{:.2f}"),
            number(row.get("torch_speedup"), "{:.2f}x"),
            *(number(row.get(f"tokens_per_second_{batch}"), "{:.0f}") for batch in batches),
            _verdict(row),
        )
    return made


def _say_reference(found: Mapping[str, Any]) -> None:
    """Say what the simple model beside the others comes to."""
    if "char_perplexity" in found:
        paragraph(f"{found['name']}: {found['char_perplexity']:.2f} per character on the same texts")
    elif found:
        paragraph(
            f"{found['name']}: macro-F1 {found['macro_f1']:.4f}, accuracy {found['accuracy']:.4f} on the same rows"
        )
        if found.get("verdict"):
            paragraph(f"{found['verdict']}.", style="bold")

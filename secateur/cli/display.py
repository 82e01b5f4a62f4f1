"""What the terminal shows: tables on standard output, progress on standard error."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table

from secateur.progress import waiting

if TYPE_CHECKING:
    from secateur.config.effective import Effective
    from secateur.registry.registered_version import ListedModel, RegisteredVersion
    from secateur.workflow.explain import Explanation
    from secateur.workflow.outcome import Outcome
    from secateur.workflow.params import Change
    from secateur.workflow.project import Project

_WIDE = 1000
_MARK = re.compile(r"(\\*)(\[[a-z#/@])")
"""What rich would take for one: a bracket with what may begin a style; backslashes in front of it count in pairs."""

STARTING_PREFECT = "starting Prefect"
_WITHOUT_BAR = (STARTING_PREFECT, "ingest", "clean", "report")
"""What cannot say how far it is; the other stages show bars of their own."""
_VERDICT_STYLE = {"up to date": "green", "restore": "cyan", "run": "yellow", "measure": "cyan"}
_SAID = {
    "run": "would run",
    "restore": "would be restored from the cache, nothing is computed",
    "measure": "would write again what is never compared",
    "run if upstream changes": "would run if an earlier stage changes its outputs",
}
ACTION_STYLE = {"cached": "green", "restored": "cyan", "run": "yellow", "measured": "cyan"}


def _console(*, stderr: bool = False) -> Console:
    """Return a console as wide as its terminal; a pipe has no width, and gets 80 columns or $COLUMNS."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def table(title: str, *columns: str) -> Table:
    """Return an empty table in the house style; columns that start with ``>`` are right-aligned numbers."""
    made = Table(
        title=title or None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        # Digests and paths have no place to break; none of them is cut.
        made.add_column(column.removeprefix(">"), justify=justify, overflow="fold")
    return made


def show(made: Table, *, wide: bool = False) -> None:
    """Print a table to standard output; a wide one takes the columns that it needs, whatever the terminal has."""
    console = _console()
    if wide:
        for column in made.columns:
            column.no_wrap = True
        console.width = max(console.width, console.measure(made, options=console.options.update(width=_WIDE)).maximum)
    console.print()
    console.print(made)


def paragraph(text: str, *, style: str = "") -> None:
    """Print a sentence or more to standard output, broken between words, after an empty line."""
    console = _console()
    console.print()
    console.print(plain(text), style=style)


def say(message: str) -> None:
    """Print one line to standard error."""
    _console(stderr=True).print(plain(message))


def sweep_table(values: Mapping[str, Any]) -> None:
    """Show every point of a sweep, the front marked, and where the time went."""
    from secateur.kinds.registry import measure_named

    dense, measure = values["dense"], measure_named(values["measure"])
    before = dense[measure.name]
    made = table(
        f"No training; scores on validation rows. * = on the Pareto front of MACs and {measure.title}",
        "", "method", ">budget", ">MACs", ">parameters", f">{measure.title}", ">change", ">loss", ">s",
    )  # fmt: skip
    made.add_row("", "dense", "", "1.000", f"{dense['params'] / 1e6:.2f} M", f"{before:.4f}", "",
                 f"{dense['loss']:.4f}", "")  # fmt: skip
    for point in values["points"]:
        if point["error"] is not None:
            made.add_row("", point["method"], f"{point['asked']:g}", "", "", "not reachable")
            continue
        made.add_row(
            "*" if point["front"] else "",
            point["method"],
            f"{point['asked']:g}",
            f"{point['macs'] / dense['macs']:.3f}",
            f"{point['params'] / 1e6:.2f} M",
            f"{point[measure.name]:.4f}",
            # Points of a score; a perplexity changes by shares of itself.
            f"{100 * (point[measure.name] - before) / (1.0 if measure.higher_is_better else before):+.2f}"
            f"{'' if measure.higher_is_better else ' %'}",
            f"{point['loss']:.4f}",
            f"{point['seconds']:.1f}",
        )
    show(made)
    seconds = ", ".join(f"{method} {value:.1f} s" for method, value in values["calibration_s"].items())
    click.echo(f"calibration, once per method: {seconds}; reports/sweep.json and reports/sweep.svg hold all of it")


@contextmanager
def stage_progress(project: "Project", *, quiet: bool) -> Iterator[Callable[[str, "Outcome | None"], None]]:
    """Yield a function that is told when a stage starts and ends, and says so on standard error.

    What a stage has to say after it has ended is said even where ``quiet`` leaves out the rest.
    """
    from secateur.workflow.remarks import remarks

    console = _console(stderr=True)
    with ExitStack() as spinner:

        def watch(address: str, outcome: "Outcome | None") -> None:
            if quiet:
                tell(outcome, address=address, before=f"{address}: ")
                return
            spinner.close()
            if outcome is None:
                console.print(f"[bold]▸ {address}[/bold]")
                if address in _WITHOUT_BAR:
                    spinner.enter_context(waiting(address))
                return
            if outcome.action == "run":
                console.print(f"  done in {duration(outcome.seconds)}")
            else:
                console.print(f"  [{ACTION_STYLE[outcome.action]}]{outcome.action}[/]")
            tell(outcome, address=address, before="  ")

        def tell(outcome: "Outcome | None", *, address: str, before: str) -> None:
            if outcome is not None and outcome.action != "cached":
                for remark in remarks(project.root, address):
                    console.print(f"{before}{plain(remark)}")

        yield watch


def duration(seconds: float) -> str:
    """Write seconds for people: ``0.3 s``, ``42 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def plan_table(explained: "Sequence[Explanation]", *, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        values = [
            {"stage": e.stage, "verdict": e.verdict, "causes": list(e.causes), "upstream": list(e.upstream)}
            for e in explained
        ]
        click.echo(json.dumps(values, indent=2))
        return
    made = table("", "stage", "a run would", "because")
    for entry in explained:
        style = _VERDICT_STYLE.get(entry.verdict, "yellow")
        reasons = [cause.splitlines()[0] for cause in entry.causes]
        if entry.upstream:
            reasons.append("depends on " + ", ".join(entry.upstream))
        verdict = "do nothing" if entry.verdict == "up to date" else entry.verdict
        made.add_row(entry.stage, f"[{style}]{verdict}[/]", plain("; ".join(reasons)))
    show(made)


def planned_change(project: "Project", change: "Change", *, as_json: bool) -> None:
    """Print which stages read a parameter that ``-S`` or ``--params`` would change or name, without writing it."""
    from secateur.config.effective import effective
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import stages

    before = {entry.name: entry for entry in effective(read_config(project))}
    after = {entry.name: entry for entry in effective(change.config)}
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    readers = {
        stage.address: [
            name for name in changed if any(name == key or name.startswith(f"{key}.") for key in stage.keys)
        ]
        for stage in stages(change.config, project.root)
    }
    if as_json:
        click.echo(json.dumps({"changed": changed, "stages": readers}, indent=2))
        return
    made = table("", "stage", "a run would", "because")
    touched = False
    for address, names in readers.items():
        shown = ", ".join(_change_of(name, before.get(name), after.get(name)) for name in names)
        verdict = "[yellow]run[/]" if names else ("[yellow]run if upstream changes[/]" if touched else "do nothing")
        touched = touched or bool(names)
        made.add_row(address, verdict, plain(shown))
    show(made)


def _change_of(name: str, before: "Effective | None", after: "Effective | None") -> str:
    """Say what becomes of a parameter; DVC also asks which of them params.yaml gives."""
    if before is not None and after is not None and before.value == after.value:
        given = after.origin == "params.yaml"
        return f"{name}: {after.value}, its default, is {'given' if given else 'no longer given'}"
    return f"{name}: {before and before.value} -> {after and after.value}"


def why(address: str, chain: "Sequence[Explanation]") -> None:
    """Print the causes from the first changed stage down to the one asked for."""
    console = _console()
    target = chain[-1]
    relevant = [entry for entry in chain if entry.verdict != "up to date"]
    if not relevant:
        console.print(f"{address} is up to date: command, code, inputs, parameters and outputs agree with dvc.lock")
        return
    if target.verdict == "up to date":
        console.print(f"{address} itself is up to date; earlier stages are not:")
    for entry in relevant:
        said = "would run if an earlier stage changes its outputs" if entry.upstream else _SAID[entry.verdict]
        console.print(f"[bold]{entry.stage}[/bold] {said}", markup=True)
        for cause in entry.causes:
            console.print("  " + cause.replace("\n", "\n  "), markup=False)
        if entry.upstream:
            console.print(f"  it depends on {', '.join(entry.upstream)}", markup=False)


def models_table(found: "Sequence[ListedModel]", *, wide: bool) -> None:
    """Print registered models: what they are worth as they are deployed; ``wide`` adds where they come from."""
    from secateur.report import columns

    if not found:
        click.echo("no model is registered yet; `secateur run` registers the baseline and every accepted round")
        return
    more = (">speed-up", "runtime", "commit", "at") if wide else ()
    made = table("", "model", ">#", "alias", "stage", ">quality", ">time", ">size", "registered", *more)
    for model in found:
        if not model.versions:
            made.add_row(plain(model.name), "none yet", "", "", "", "", "", "")
        for version in model.versions:
            metrics, runtime = version.metrics, version.tags.runtime
            created = datetime.fromtimestamp(version.created / 1000, UTC)
            origin = (
                columns.number(metrics.get(f"{runtime}_speedup"), "{:.2f}x"),
                plain(runtime),
                plain(version.tags.commit[:8]),
                created.strftime("%H:%M"),
            )
            made.add_row(
                plain(model.name),
                version.version,
                plain(", ".join(version.aliases)),
                plain(version.tags.stage),
                _quality(metrics),
                columns.number(metrics.get(f"{runtime}_ms"), "{:.2f} ms"),
                columns.size_column().cell(metrics),
                created.strftime("%Y-%m-%d"),
                *(origin if wide else ()),
            )
    show(made, wide=wide)
    if not wide:
        _console().print(plain(f"quality ({_measures()}) and time as deployed; more: --wide"))


def model_version(entry: "RegisteredVersion") -> None:
    """Print one version, but for its verdict."""
    from secateur.registry.tags import VERDICT

    aliases = "".join(f" @{alias}" for alias in entry.aliases)
    made = table(plain(f"{entry.name} version {entry.version}{aliases}"), "what", "value")
    for name, value in sorted(entry.metrics.items()):
        if not name.startswith("training/"):
            made.add_row(plain(name), f"{value:.6g}")
    for tag, text in sorted(entry.tags.items()):
        if tag != VERDICT:
            made.add_row(plain(tag), plain(text if len(text) < 100 else " ".join(text.split())[:97] + "..."))
    show(made)


def _quality(metrics: Mapping[str, float]) -> str:
    """Write the score that decides, as the model is deployed; where it has no form of its own, with its symbol."""
    from secateur.kinds.registry import kind_of_scores

    kind = kind_of_scores(metrics)
    if kind is None:
        return ""
    shown, name = kind.presentation(), kind.measure.name
    value = shown.scale.write_for_terminal(metrics.get(f"deployed_{name}", metrics.get(name, math.nan)))
    return f"{value} {shown.symbol}".rstrip()


def _measures() -> str:
    """Name the scores that decide, each with its symbol."""
    from secateur.kinds.registry import KINDS

    kinds = [KINDS[name] for name in KINDS]
    named = [(kind.presentation().symbol, kind.measure.title) for kind in kinds]
    return ", or ".join(dict.fromkeys(f"{symbol} = {title}" if symbol else title for symbol, title in named))


def plain(text: str) -> str:
    """Return text of a user's for a table cell or a sentence, in which nothing is a mark of style."""
    return _MARK.sub(r"\1\1\\\2", text)


def checkpoint(path: Any, found: Mapping[str, Any]) -> None:
    """Print what ``inspect`` found."""
    made = table(plain(str(path)), "what", ">value")
    for name in (
        "model_type", "hidden_size", "head_dim", "vocab_size", "params", "nonembedding_params", "macs", "bytes",
    ):  # fmt: skip
        value = found.get(name)
        made.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    card = found.get("card") or {}
    for name in ("stage", "key", "state", "accepted", "reason", "seed"):
        if card.get(name) is not None:
            made.add_row(name, plain(str(card[name])))
    for name, value in (card.get("metrics") or {}).items():
        made.add_row(plain(name), f"{value:.4f}" if isinstance(value, float) else plain(str(value)))
    show(made)
    layers = table("Layers", ">layer", ">heads", ">FFN neurons")
    for index, layer in enumerate(found["layers"]):
        layers.add_row(
            str(index), f"{layer['heads']} of {layer['dense_heads']}", f"{layer['ffn']} of {layer['dense_ffn']}"
        )
    show(layers)

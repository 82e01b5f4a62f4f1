"""What the terminal shows: tables on standard output, progress on standard error."""

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
    from secateur.registry.registered_version import ListedModel
    from secateur.workflow.outcome import Outcome
    from secateur.workflow.project import Project

_WIDE = 1000
_MARK = re.compile(r"(\\*)(\[[a-z#/@])")
"""What rich would take for one: a bracket with what may begin a style; backslashes in front of it count in pairs."""

STARTING_PREFECT = "starting Prefect"
_WITHOUT_BAR = (STARTING_PREFECT, "ingest", "clean", "report")
"""What cannot say how far it is; the other stages show bars of their own."""
_OF_CHECKPOINT = {
    "model_type": "Family",
    "hidden_size": "Features of a token",
    "head_dim": "Features of a head",
    "vocab_size": "Tokens in the vocabulary",
    "params": "Parameters",
    "nonembedding_params": "  outside the embeddings",
    "macs": "Multiply-accumulates of {length} tokens",
    "bytes": "Bytes of the weights",
}
_OF_CARD = {
    "stage": "Made by",
    "key": "Identity",
    "state": "State",
    "accepted": "Accepted",
    "reason": "Because",
    "seed": "Seed",
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
    for name, title in _OF_CHECKPOINT.items():
        value = found.get(name)
        if value is not None:
            made.add_row(title.format(**found), f"{value:,}" if isinstance(value, int) else plain(str(value)))
    card = found.get("card") or {}
    for name, title in _OF_CARD.items():
        if card.get(name) is not None:
            made.add_row(title, plain(_yes_or_no(card[name])))
    for name, value in (card.get("metrics") or {}).items():
        shown = f"{value:.4f}" if isinstance(value, float) else plain(str(value))
        made.add_row(plain(name.replace("_", " ").capitalize()), shown)
    show(made)
    layers = table("Layers", ">layer", ">heads", ">FFN neurons")
    for index, layer in enumerate(found["layers"]):
        layers.add_row(
            str(index), f"{layer['heads']} of {layer['dense_heads']}", f"{layer['ffn']} of {layer['dense_ffn']}"
        )
    show(layers)


def _yes_or_no(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)

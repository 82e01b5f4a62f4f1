"""``init``."""

import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secateur.errors import ConfigError, DataError, ModelError
from secateur.files import at_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secateur.data.survey import Survey
    from secateur.readers.columns import Guess
    from secateur.scaffolding.origin import Origin
    from secateur.scaffolding.setting_up import Plan
    from secateur.scaffolding.wish import Wish

_LABELS_SHOWN = 6
_LABEL_CHARS = 40
_OF_THE_ROWS = ("text_columns", "label_columns", "model")
_LARGE_BYTES = 10_000_000
"""A larger file of rows belongs into DVC, not into git."""


@click.command()
@click.argument("folder", required=False, default=".", type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--source", metavar="FILE", help="The rows: a file, package:NAME/path, or a hub dataset id.")
@click.option(
    "--text-column",
    "text_columns",
    multiple=True,
    help="Column of the texts; guessed where it is plain. Given twice: pairs, such as premise and hypothesis.",
)
@click.option(
    "--label-column",
    "label_columns",
    multiple=True,
    help="Column of the labels; guessed where it is plain. Given for each of several labels: columns of 0 and 1.",
)
@click.option("--model", help="What to start from: a folder, package:NAME/path, or a hub id.")
@click.option(
    "--task",
    metavar="KIND",
    help="What the model will do: classification (unless given), multi_label (unless given, where rows have several "
    "labels), regression (unless given, where labels are numbers with a fraction), ordinal (grades), generation, or a "
    "kind of task that another package brings.",
)
@click.option("-S", "overrides", multiple=True, metavar="section.key=value", help="Choose one parameter; repeatable.")
@click.option("--full", is_flag=True, help="Flows and stages as files of the project, to be changed; see below.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen and chosen as JSON.")
def init(
    folder: Path, source: str | None, *, overrides: tuple[str, ...], full: bool, as_json: bool, **options: Any
) -> None:
    """Make a project in DIR: look at the rows, and choose the parameters that fit them.

    DIR is absent, a folder without a project, or the root of a git repository; the current one unless given. Writes
    params.yaml (what it chose, each line with its reason), dvc.yaml and code.lock, and sets up git and DVC. Nothing is
    overwritten. On a terminal it asks what it was not told.

    --full writes flows/ (what comes next) and tasks/ (a stage each), also into a project that is there. They are what
    `run`, `plan` and `dvc repro` go by from then on, and part of the identity; an upgrade leaves them alone.

    Example: secateur init shop --source tickets.csv
    """
    from secateur.scaffolding import setting_up
    from secateur.scaffolding.copying_out import check_room
    from secateur.scaffolding.new_project import check_folder
    from secateur.scaffolding.origin import origin_of
    from secateur.scaffolding.wish import Wish, by_name
    from secateur.workflow.project import is_project

    here, asks = Path.cwd(), is_terminal() and not as_json
    root = (here / at_home(folder)).resolve()
    if full:
        check_room(root)
        if is_project(root) and not any((source, overrides, *(options[name] for name in _OF_THE_ROWS))):
            _copy_out(root, as_json=as_json)
            return
    check_folder(root)
    named = by_name(overrides)
    source = source or named.get("ingest.source", "").partition("=")[2] or _ask_source(asks=asks)
    wish = Wish(root=root, source=source, here=here, overrides=named, **options)
    _ = wish.kind  # refused before anything is read
    origin = origin_of(source, root=root, here=here, query=wish.given.get("ingest.query"))
    guess = _columns(wish, origin, asks=asks)
    plan = _propose(wish, guess, origin, given=setting_up.given_origins(wish), asks=asks)
    plan.write(full=full)
    if as_json:
        click.echo(json.dumps(_as_json(plan), indent=2, ensure_ascii=False))
        return
    _tell(plan, guess, here=here)


def is_terminal() -> bool:
    """Tell whether there is somebody who can be asked."""
    return sys.stdin.isatty()


def _copy_out(root: Path, *, as_json: bool) -> None:
    from secateur.cli.display import paragraph
    from secateur.scaffolding.copying_out import copy_out
    from secateur.workflow.project import Project, exclusive

    with exclusive(Project(root)):
        written = copy_out(root)
    if as_json:
        click.echo(json.dumps({"project": str(root), "written": written}, indent=2, ensure_ascii=False))
        return
    paragraph(f"{', '.join(written)}: these are what runs here from now on, and nothing is stale. Commit them.")


def _propose(wish: "Wish", guess: "Guess", origin: "Origin", *, given: "Mapping[str, Origin]", asks: bool) -> "Plan":
    """Choose the parameters; on a terminal the user is asked for a model where none at hand fits."""
    from secateur.scaffolding import setting_up

    try:
        return setting_up.propose(wish, guess=guess, origin=origin, given=given)
    except ModelError as error:
        if not asks or wish.model is not None:
            raise
        model = click.prompt(f"{error}\nModel")
        return setting_up.propose(replace(wish, model=model), guess=guess, origin=origin, given=given)


def _ask_source(*, asks: bool) -> str:
    if not asks:
        raise ConfigError(
            "init needs --source FILE (and, where they are not plain, --text-column and --label-column); "
            "`secateur init --help` shows all options"
        )
    return str(click.prompt("The rows (a CSV, TSV, JSON, Parquet or Excel file)"))


def _columns(wish: "Wish", origin: "Origin", *, asks: bool) -> "Guess":
    """Return the columns; on a terminal the user is asked where the names do not say it."""
    from secateur.scaffolding import setting_up

    try:
        return setting_up.columns(wish, origin)
    except DataError:
        if not asks or origin.location.path is None:
            raise
    names = setting_up.column_names(wish, origin)
    choice = click.Choice(names)
    texts = wish.text_columns or (click.prompt("Column of the texts", type=choice),)
    labels = wish.label_columns
    if not labels and wish.kind.needs_labels:
        labels = (click.prompt("Column of the labels", type=choice),)
    return setting_up.columns(replace(wish, text_columns=texts, label_columns=labels), origin)


def _tell(plan: "Plan", guess: "Guess", *, here: Path) -> None:
    from secateur.cli.display import paragraph, say

    if plan.seen is not None:
        paragraph(f"{plan.config.ingest.source}: {_seen(plan.seen)}")
    how = f" (guessed from {guess.how}; --text-column and --label-column say it)" if guess.how else ""
    label = f", labels from {' and '.join(map(repr, guess.labels))}" if guess.labels else ""
    texts = f"{'Texts' if len(guess.texts) == 1 else 'Pairs of texts'} from {' and '.join(map(repr, guess.texts))}"
    paragraph(f"{texts}{label}{how}; the model is {plan.config.baseline.model}.")
    for name, path in plan.copies.items():
        paragraph(f"{path} was copied to {plan.root / name}.")
    for remark in plan.remarks:
        say(remark)
    where = plan.root.relative_to(here) if plan.root.is_relative_to(here) else plan.root
    paragraph(f"{plan.root / 'params.yaml'} says what was chosen and why; nothing is committed yet. Next:")
    go = f"cd {shlex.quote(str(where))} && " if plan.root != here.resolve() else ""
    large = " ".join(shlex.quote(name) for name in plan.sources if (plan.root / name).stat().st_size > _LARGE_BYTES)
    add = f"dvc add {large} && " if large else ""
    click.echo(f'{go}{add}git add -A && git commit -m "A project" && secateur run')


def _seen(seen: "Survey") -> str:
    """Say what was seen, in two sentences or three."""
    about = "about " if seen.is_estimate else ""
    parts = [f"{seen.rows} rows"]
    if seen.unusable:
        parts.append(f"{seen.unusable} without a text or a label")
    if seen.repeated:
        parts.append(f"{seen.repeated} repeated")
    said = f"{', '.join(parts)}; {about}{seen.kept} stay after cleaning."
    if seen.labels:
        total = max(1, seen.kept if seen.sets else sum(seen.labels.values()))
        named = [f"{_clipped(name)} {count / total:.0%}" for name, count in list(seen.labels.items())[:_LABELS_SHOWN]]
        more = f" and {len(seen.labels) - _LABELS_SHOWN} more" if len(seen.labels) > _LABELS_SHOWN else ""
        said += f" {len(seen.labels)} labels: {', '.join(named)}{more}."
    if seen.numbers is not None:
        least, median, most = seen.numbers
        said += f" Numbers from {least:g} to {most:g}, half of them at most {median:g}."
    if seen.without_label:
        said += f" {about}{seen.without_label} rows have none."
    said += (
        f" {seen.script} script; half of the texts have at most {seen.chars.median} characters, 95 % {seen.chars.high}"
    )
    if seen.together:
        said += f"; of the pairs, which the model reads as one, {seen.together.median} and {seen.together.high}"
    return said + (f" ({seen.tokens.median} and {seen.tokens.high} tokens)." if seen.tokens else ".")


def _clipped(label: str) -> str:
    """Return as much of a label as has room in a line."""
    words = " ".join(label.split())
    return words if len(words) <= _LABEL_CHARS else f"{words[: _LABEL_CHARS - 3]}..."


def _as_json(plan: "Plan") -> dict[str, Any]:
    return {
        "project": str(plan.root),
        "seen": asdict(plan.seen) if plan.seen else None,
        "chosen": [asdict(choice) for choice in plan.chosen],
        "copied": {name: str(path) for name, path in plan.copies.items()},
        "remarks": list(plan.remarks),
    }

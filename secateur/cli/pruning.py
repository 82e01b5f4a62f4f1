"""``prune`` and ``sweep``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secateur.cli.file_of_rows import INGEST, read_overrides, reading_by
from secateur.cli.finished_model import LABEL_COLUMN, TEXT_COLUMN
from secateur.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from secateur.config.prune import BudgetKind, PruneSettings
    from secateur.readers.reading import Reading

_BUDGETS = ("macs", "params", "latency", "sparsity")


class _ListsCriteria(click.Command):
    """Shows which criteria there are below the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each: ours with what it does, another package's with the name of that package."""
        from secateur.config.criteria import CRITERIA

        found = [CRITERIA.find(name) for name in CRITERIA]
        rows = [(one.name, f"of {one.package}" if one.package else CRITERIA[one.name].summary) for one in found]
        with formatter.section("Criteria"):
            formatter.write_dl(rows)


def _known(_: click.Context, __: click.Parameter, name: str) -> str:
    """Refuse a criterion that nobody brings, with what was meant."""
    from secateur.config.criteria import CRITERIA

    return CRITERIA.find(name).name


@click.command(cls=_ListsCriteria)
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CKPT")
@click.option(
    "--data",
    required=True,
    metavar="FILE",
    help="Rows, of a classifier with labels: CSV, TSV, JSONL, Parquet or Excel; texts alone may be a .txt.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist.")
@TEXT_COLUMN
@LABEL_COLUMN
@click.option(
    "--criterion",
    callback=_known,
    metavar="NAME",
    default="obs",
    show_default=True,
    help="How structures are scored.",
)
@click.option("--macs", type=float, metavar="FRACTION", help="Multiply-accumulates that stay; 0.5 unless given.")
@click.option("--params", type=float, metavar="FRACTION", help="Parameters outside the embeddings that stay.")
@click.option("--latency", type=float, metavar="FRACTION", help="Measured time that stays (-S latency.runtime=...).")
@click.option("--sparsity", type=float, metavar="FRACTION", help="Share of the encoder's weights that goes.")
@click.option("--epochs", type=float, default=0.0, show_default=True, help="Training afterwards; 0 = none.")
@click.option(
    "-S",
    "overrides",
    multiple=True,
    metavar="key=value",
    help="Any setting of params.yaml under prune, and of ingest how FILE is written (ingest.encoding=cp1252).",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=4),
    default=128,
    show_default=True,
    help="Tokens per text; of a generator per row, of which a long text is several, of a model that reads long texts "
    "in windows those of its card.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores unless given.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where it computes; auto = a GPU where there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def prune(checkpoint: Path, data: str, out: Path, *, as_json: bool, **options: Any) -> None:
    """Prune anybody's finished model, without a project.

    CKPT is a checkpoint of a run, models:/name@alias, the Hugging Face folder of a classifier, a regression model or a
    generator, or that of sentence-transformers, dense or pruned by this program and trained further. A fifth of the
    rows is held out for the scores that are shown. A generator needs texts alone (a row per line of a .txt), and is
    judged by perplexity. An embedding model needs no labels either: it keeps its own neighbours (recall@10); labels
    that --label-column names tell what a linear probe makes of its vectors.

    Example: secateur prune models/baseline --data reviews.csv --out pruned --macs 0.5
    """
    import os

    from secateur.cli.checkpoints import resolve
    from secateur.cli.display import say

    _settings(options, {})  # what is wrong in them is told before anything is read
    reading = _reading(options)
    if out.exists():
        raise CheckpointError(f"--out {out} exists already; name a new folder")
    folder = resolve(str(checkpoint))
    from secateur.models.checkpoint import kind_of_folder
    from secateur.models.construction import read_config
    from secateur.models.folders import card_of
    from secateur.pruning.once import left_out_for_size
    from secateur.pruning.one_shot import prune_checkpoint
    from secateur.pruning.one_shot_rows import Request

    of_kind, of_size = kind_of_folder(folder, card_of(folder)).one_shot, left_out_for_size(read_config(folder))
    settings = _settings(options, {**of_kind, **of_size})
    request = Request(
        checkpoint=folder,
        data=data,
        reading=reading,
        settings=settings,
        max_length=options["max_length"],
        seed=options["seed"],
        num_threads=options["threads"] or os.cpu_count() or 1,
        precision="auto",
        device=options["device"],
        probes=bool(options["label_columns"]),
    )
    if of_size and settings.criterion == "obs" and not vars(settings.own)["search_trials"] and not as_json:
        say("so large a model is not searched for better widths; -S criteria.obs.search_trials=40 asks for it")
    result = prune_checkpoint(request, out, say=(lambda _: None) if as_json else say)
    if as_json:
        click.echo(json.dumps({"out": str(out), **result}, indent=2))
        return
    _show(result, out)


def _settings(options: dict[str, Any], of_kind: Mapping[str, Any]) -> "PruneSettings":
    from secateur.config.one_shot import one_shot_settings

    changes: dict[str, Any] = {**of_kind, "criterion": options["criterion"], "recovery.epochs": options["epochs"]}
    asked = {f"budget.{kind}": options[kind] for kind in _BUDGETS if options[kind] is not None}
    budgets = [f"--{name.partition('.')[2]}" for name in asked]
    for given, value in _overrides(options).items():
        name = given.removeprefix("prune.")
        if name.startswith(INGEST):
            continue
        changes[name] = value
        budgets += [f"-S {given}"] if name.partition(".")[0] == "budget" and name != "budget.price" else []
    if len(budgets) > 1:
        raise ConfigError(f"one budget at a time: found {', '.join(budgets)}")
    return one_shot_settings(changes | asked)


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    return read_overrides(options["overrides"], example="calibration_rows=2048")


def _reading(options: dict[str, Any]) -> "Reading":
    labels = options["label_columns"] or ("label",)
    return reading_by(_overrides(options), text_columns=options["text_columns"], label_columns=labels, command="prune")


def _show(result: dict[str, Any], out: Path) -> None:
    from secateur.cli import display
    from secateur.kinds.registry import kind_named

    kind = kind_named(result["kind"])
    measure, others = kind.measure, [name for name in kind.scores if name != kind.measure.name]
    others += [name for name in result["pruned"] if name.startswith("probe_")]
    made = display.table(
        f"{out} (held-out rows: {result['rows']['held_out']})",
        "model", ">parameters", ">MACs", f">{measure.title}", *(f">{name.replace('_', ' ')}" for name in others),
    )  # fmt: skip
    for name in ("dense", "pruned"):
        row = result[name]
        made.add_row(
            name,
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.1f} M",
            kind.presentation().scale.write_for_terminal(row[measure.name]),
            *(f"{row[other]:.4f}" for other in others),
        )
    display.show(made)
    click.echo(f"chosen, cut and checked in {result['seconds']:.0f} s; `secateur bench` measures the speed")
    padded = f"secateur export {out} --to padded --out plain"
    click.echo(f"secateur.load reads it, plain transformers what `{padded}` writes")


@click.command(cls=_ListsCriteria)
@click.option("--methods", default="magnitude,gradient,fisher,obs", show_default=True, help="Criteria, by commas.")
@click.option("--budgets", default="0.75,0.6,0.5,0.4,0.3,0.25", show_default=True, help="Fractions, by commas.")
@click.option("--kind", type=click.Choice(_BUDGETS), default="macs", show_default=True, help="Unit of the budgets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def sweep(methods: str, budgets: str, kind: "BudgetKind", as_json: bool) -> None:
    """Prune the project's baseline by many methods to many budgets, without training.

    Each method calibrates once. Scores are those of the validation rows; points on the Pareto front are marked. Writes
    reports/sweep.json and reports/sweep.svg, and a run in MLflow.

    Example: secateur sweep --methods gradient,obs --budgets 0.75,0.5,0.35
    """
    from secateur.cli import display
    from secateur.cli.workflow import prepare
    from secateur.workflow.full_form import function_of
    from secateur.workflow.params import propose
    from secateur.workflow.project import exclusive, find_project

    chosen, fractions = _methods(methods), _fractions(budgets)
    project = find_project()
    change = propose(project, file=None, overrides=())
    with exclusive(project), display.stage_progress(project, quiet=as_json) as watch:
        prepare(project, change)
        values: dict[str, Any] = function_of(project.root, "flows", "sweep", "sweep")(
            project,
            methods=chosen,
            kind=kind,
            fractions=fractions,
            told=lambda line: click.echo(line, err=True),
            watch=watch,
        )
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    display.sweep_table(values)


def _methods(given: str) -> list[str]:
    from secateur.config.criteria import CRITERIA

    names = list(dict.fromkeys(part.strip() for part in given.split(",")))
    for name in names:
        if "structures" not in CRITERIA[name].scores:
            raise ConfigError(f"--methods: {name} scores single weights, and a sweep cuts structures")
    return names


def _fractions(given: str) -> list[float]:
    try:
        fractions = [float(part) for part in given.split(",")]
    except ValueError as error:
        raise ConfigError(f"--budgets={given}: expected numbers by commas, e.g. 0.75,0.5") from error
    wrong = [fraction for fraction in fractions if not 0.0 < fraction <= 1.0]
    if wrong:
        raise ConfigError(f"--budgets: {wrong[0]:g} is out of range; a budget is a fraction of dense in (0, 1]")
    return sorted(set(fractions), reverse=True)

"""``evaluate``: what a finished model is worth on somebody's rows."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from secateur.cli.evaluation_display import show_confusion, show_scores, units_of
from secateur.cli.file_of_rows import ingest_overrides, naming_options, reading_by
from secateur.cli.finished_model import LABEL_COLUMN, RUNTIME, TEXT_COLUMN, THREADS, find_finished, opened
from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from secateur.cli.finished_model import Finished


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, metavar="FILE", help="Rows: CSV, TSV, JSONL, Parquet or Excel.")
@TEXT_COLUMN
@LABEL_COLUMN
@click.option("--by", multiple=True, metavar="COLUMN", help="Score the rows of each of its values as well; repeatable.")
@click.option(
    "--unknown",
    type=click.Choice(("refuse", "drop")),
    default="refuse",
    show_default=True,
    help="Rows whose label the model does not know.",
)
@click.option(
    "-S", "overrides", multiple=True, metavar="ingest.key=value", help="How FILE is written (ingest.encoding=cp1252)."
)
@click.option("--dense", metavar="MODEL", help="Of an embedding model: the one whose neighbours it is to keep.")
@RUNTIME
@THREADS
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(model: str, data: str, *, by: tuple[str, ...], dense: str | None, as_json: bool, **options: Any) -> None:
    """Score a finished model on rows of a file; nothing is trained and nothing written.

    Scores with their 95 % intervals, which labels are taken for which, and scores by the values of a column. MODEL is
    a checkpoint or ONNX folder, the Hugging Face folder of a classifier or language model, or models:/name@alias. A
    generator gets perplexity per token and per character; it reads texts without labels. An embedding model is scored
    by the neighbours of --dense that it keeps.

    Example: secateur evaluate models/r3 --data reviews.csv --by shop
    """
    from secateur.cli import display
    from secateur.data.learned_rows import learned_beside
    from secateur.data.text_rules import TextRules
    from secateur.evaluation.row_scores import Question, score_file
    from secateur.models.folders import card_of
    from secateur.readers.layout import require_texts
    from secateur.readers.row_files import open_rows

    found = find_finished(model)
    if dense is not None or found.kind.follows_dense:
        _evaluate_against(found, dense, model=model, data=data, by=by, as_json=as_json, **options)
        return
    labels = options["label_columns"] or (("label",) if found.kind.needs_labels else ())
    texts = options["text_columns"]
    require_texts(found.num_texts, texts, model=model)
    said = ingest_overrides(options["overrides"], command="evaluate")
    reading = reading_by(said, text_columns=texts, label_columns=labels, command="evaluate")
    reading = reading.for_model(found.kind, model)
    drop, separator = options["unknown"] == "drop", reading.layout.label_separator
    question = Question(texts=texts, labels=labels, by=by, drop_unknown=drop, separator=separator)
    with naming_options(texts=texts, labels=labels):
        rows = open_rows(data, reading, also=by)
    with opened(found, runtime=options["runtime"], num_threads=options["threads"]) as ready:
        learned = learned_beside(found.checkpoint, TextRules.of(card_of(found.checkpoint, verified=True).text_rules))
        result = score_file(found.kind, ready, rows, question, learned=learned)
        max_length = ready.max_length
    if as_json:
        said = {"model": model, "data": data, **result, "remarks": list(rows.remarks)}
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for remark in (*rows.remarks, *_remarks(result, max_length)):
        display.say(remark)
    show_scores(f"{model} on {data}", result)
    for line in units_of(found.kind.name, ", ".join(labels)):
        click.echo(line)
    if result["confusion"] is not None:
        show_confusion(**result["confusion"])


def _evaluate_against(
    found: "Finished", dense: str | None, *, model: str, data: str, by: Sequence[str], as_json: bool, **options: Any
) -> None:
    """Score an embedding model against the one that it was pruned from."""
    from secateur.cli import display
    from secateur.evaluation.kept_neighbours import score_texts
    from secateur.readers.row_files import open_rows

    if not found.kind.follows_dense:
        raise click.UsageError(f"--dense goes with an embedding model; {model} is for {found.kind.name}")
    if dense is None:
        raise click.UsageError("an embedding model is worth what it keeps of its dense one: name that by --dense")
    if by or options["label_columns"]:
        raise click.UsageError("neighbours are looked for among all rows; --by and --label-column go with other models")
    if len(options["text_columns"]) > 1:
        raise click.UsageError("a vector is that of one text; name one --text-column")
    reference = find_finished(dense)
    if not reference.kind.follows_dense:
        raise CheckpointError(f"--dense {dense} is for {reference.kind.name}; an embedding model would work")
    (text, *_), said = options["text_columns"], ingest_overrides(options["overrides"], command="evaluate")
    rows = open_rows(data, reading_by(said, text_columns=(text,), label_columns=(), command="evaluate"))
    threads = options["threads"]
    with (
        opened(found, runtime=options["runtime"], num_threads=threads) as ready,
        opened(reference, num_threads=threads) as before,
    ):
        result = score_texts(ready, before, rows, text=text)
        max_length = ready.max_length
    if as_json:
        said = {"model": model, "dense": dense, "data": data, **result, "remarks": list(rows.remarks)}
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for remark in (*rows.remarks, *_remarks(result, max_length)):
        display.say(remark)
    show_scores(f"{model} against {dense} on {data}", result)


def _remarks(result: Mapping[str, Any], max_length: int) -> list[str]:
    from secateur.data.windows import remark_on_length

    said = [
        f"{count} {'row is' if count == 1 else 'rows are'} left out: {reason}"
        for reason, count in result["left_out"].items()
    ]
    if learned := result["learned"]:
        said.append(
            f"{learned} of {result['rows']} texts are among those that the models of this project have learned from or "
            "were chosen by: a score on them says little about other texts"
        )
    read = {name: result.get(name, 0) for name in ("cut", "long", "windows")}
    return [*said, *remark_on_length(result["rows"], max_length, **read)]

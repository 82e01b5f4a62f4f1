"""``predict``: what a finished model says of texts, or of every row of a file."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secateur.cli.file_of_rows import INGEST, naming_options, read_overrides, reading_by
from secateur.cli.finished_model import RUNTIME, TEXT_COLUMN, THREADS, Finished, find_finished, opened
from secateur.errors import CheckpointError, ConfigError
from secateur.readers.pairs import as_text, as_written, has_words, shown, why_unanswered

if TYPE_CHECKING:
    from secateur.kinds.base import Kind

_SHOWN = 4
"""Numbers of a vector; --json prints all."""

_SMALL = 0.001
"""Smaller numbers are shown by three digits, wherever these begin."""

_TYPES: dict[str, type] = {"string": str, "long": int, "double": float}


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("texts", nargs=-1, metavar="[TEXT...]")
@click.option("--data", metavar="FILE", help="Rows to answer: CSV, TSV, JSONL, Parquet or Excel.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Where they go: .csv, .tsv, .jsonl or .parquet."
)
@TEXT_COLUMN
@click.option("--prefix", default="predicted_", show_default=True, help="Of the columns that are added.")
@click.option(
    "-S",
    "asked",
    multiple=True,
    metavar="key=value",
    help="Of a generator max_tokens, temperature, top_p, seed, control; and how FILE is written (ingest.delimiter=;).",
)
@RUNTIME
@THREADS
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(
    model: str, texts: tuple[str, ...], *, data: str | None, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Classify texts, tell their numbers or embed them, or all rows of a file.

    Texts are arguments, or lines of standard input; to a model of pairs two arguments, or two halves of a line with a
    tab between them. With --data every row of FILE is written to --out with all its columns, in its order, and what the
    model says beside them: the label, or all labels above 0.5, and the score of every label, a number, a vector, or
    what a generator writes. Memory does not grow with the rows. MODEL is a checkpoint or ONNX folder, a folder that
    somebody saved, or models:/name@alias. Texts are cleaned as the training set was; one that is empty has no answer.

    Example: secateur predict models/r3 --data reviews.csv --out predicted.parquet
    """
    if (data is None) != (out is None):
        raise click.UsageError("--data and --out go together")
    if data is None or out is None:
        if options["asked"]:
            raise click.UsageError(f"-S {options['asked'][0]} goes with --data")
        _predict_texts(model, texts, as_json=as_json, **options)
        return
    if texts:
        raise click.UsageError("texts are arguments or rows of --data, not both")
    _predict_file(model, data, out, as_json=as_json, **options)


def _predict_texts(
    model: str, texts: tuple[str, ...], *, as_json: bool, runtime: Any, threads: int | None, **_: Any
) -> None:
    from secateur.cli import display

    found = _labels_texts(model)
    given = _pairs_given(texts) if found.num_texts == 2 else _texts_given(texts)
    if not given:
        raise click.UsageError("no text: give it as an argument or on standard input")
    asked = [text for text in given if has_words(text)]
    with opened(found, runtime=runtime, num_threads=threads) as ready:
        answers = found.kind.answer_texts(ready, asked, {}) if asked else {name: [] for name in found.kind.columns}
    said = iter(zip(*answers.values(), strict=True))
    nothing = (None,) * len(answers)
    rows: list[dict[str, Any]] = [
        {"text": as_written(text), **dict(zip(answers, next(said) if has_words(text) else nothing, strict=True))}
        for text in given
    ]
    for place, (text, row) in enumerate(zip(given, rows, strict=True), start=1):
        if not has_words(text):
            row["reason"] = why_unanswered(text)
            display.say(f"text {place} has no answer: {row['reason']}")
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    numeric = {name for name in answers if any(isinstance(row[name], float) for row in rows)}
    made = display.table("", *(f">{name}" if name in numeric else name for name in answers), "text")
    for text, row in zip(given, rows, strict=True):
        made.add_row(*(_cell(row[name]) for name in answers), display.plain(shown(text)))
    display.show(made)


def _texts_given(texts: Sequence[str]) -> list[str]:
    return [as_text(text) for text in texts or (line.rstrip("\n") for line in sys.stdin if line.strip())]


def _pairs_given(texts: Sequence[str]) -> list[str]:
    """Return pairs: two arguments each, or the two halves of a line, between which stands a tab."""
    if len(texts) % 2:
        raise click.UsageError(f"the model reads pairs of texts: give two arguments for each, found {len(texts)}")
    lines = [] if texts else [line.rstrip("\n").split("\t") for line in sys.stdin if line.strip()]
    if wrong := [number for number, halves in enumerate(lines, start=1) if len(halves) != 2]:
        raise click.UsageError(f"the model reads pairs of texts: line {wrong[0]} needs one tab, between the two")
    return [as_text(pair) for pair in (lines or zip(texts[::2], texts[1::2], strict=True))]


def _labels_texts(model: str) -> Finished:
    found = find_finished(model)
    if found.kind.route == "generate":
        raise CheckpointError(
            f"{model} holds a generator, which knows no labels; `secateur generate` lets it write, and --data with "
            "--out goes on with the texts of a file"
        )
    return found


def _cell(value: Any) -> str:
    from secateur.cli import display

    if value is None:
        return ""
    if isinstance(value, list) and len(value) > _SHOWN and isinstance(value[0], float):
        return f"{', '.join(map(_cell, value[:_SHOWN]))}, ... ({len(value)} numbers)"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, float):
        return f"{value:.3f}" if not 0 < abs(value) < _SMALL else f"{value:.3g}"
    return display.plain(str(value))


def _predict_file(model: str, data: str, out: Path, *, as_json: bool, **options: Any) -> None:
    from secateur.cli import display
    from secateur.inference.answers import answer_file, require_free
    from secateur.readers.layout import require_texts
    from secateur.readers.row_files import open_rows
    from secateur.readers.row_writers import require_writable

    require_writable(out)
    found = find_finished(model)
    said = read_overrides(options["asked"])
    parameters = _parameters(found.kind, {name: value for name, value in said.items() if not name.startswith(INGEST)})
    texts = options["text_columns"]
    require_texts(found.num_texts, texts, model=model)
    reading = reading_by(said, text_columns=texts, label_columns=(), command="predict")
    with naming_options(texts=texts):
        rows = open_rows(data, reading)
    require_free(rows, list(found.kind.columns), prefix=options["prefix"])  # the others are known by the open model
    started = time.monotonic()
    with opened(found, runtime=options["runtime"], num_threads=options["threads"]) as ready:
        told = answer_file(
            found.kind,
            ready,
            rows,
            out,
            texts=texts,
            prefix=options["prefix"],
            parameters=parameters,
        )
        remarks = [*rows.remarks, *told.remarks(ready.max_length)]
    if as_json:
        counts = {"rows": told.rows, "empty": told.empty, "cut": told.num_cut, "unanswered": told.unanswered}
        counts |= {"long": told.num_long, "windows": told.num_windows}
        click.echo(json.dumps({"out": str(out), **counts, "remarks": remarks}, indent=2, ensure_ascii=False))
        return
    for remark in remarks:
        display.say(remark)
    seconds = time.monotonic() - started
    click.echo(f"{out}: {told.rows} rows in {display.duration(seconds)}")


def _parameters(kind: "Kind", asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of the kind besides texts.

    Raises:
        ConfigError: it takes no such parameter, or not this value.
    """
    found: dict[str, Any] = {}
    for name, value in asked.items():
        if name not in kind.parameters:
            takes = ", ".join(kind.parameters) or "no parameter but those of ingest"
            raise ConfigError(f"-S {name}={value}: a model for {kind.name} takes {takes}")
        wanted = _TYPES[kind.parameters[name][0]]
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        found[name] = str(value) if wanted is str else float(value) if wanted is float and is_whole else value
        if type(found[name]) is not wanted:
            raise ConfigError(f"-S {name}={value}: {name} is {'a number' if wanted is float else 'a whole number'}")
    return found

"""What do models of the hub keep at the speeds of published papers? ``python -m benchmarks.published``.

Needs a network, or folders that hold what it would fetch (``--models``, ``--rows``). A finished row is one line of
``.benchmarks/published/runs.jsonl``; the same command goes on after a kill, and does not make a row twice.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq

from benchmarks.report import environment, show, write_results
from secateur.files import replacing

_WORK = Path(".benchmarks") / "published"
_WIKITEXT = "hf://datasets/Salesforce/wikitext/wikitext-2-raw-v1"
_GLUE = "hf://datasets/nyu-mll/glue"

Command = Callable[[Sequence[str]], str]
"""Runs ``secateur`` with arguments and returns what it printed."""


@dataclass(frozen=True)
class Subject:
    """A model of the hub, and the rows that it is pruned and judged by.

    Attributes:
        name: of the row in the table.
        model: id on the hub; below ``--models`` a folder named like it, with ``--`` for ``/``.
        train: rows to calibrate and recover on; below ``--rows`` ``NAME-train`` with the same ending.
        test: rows to score, which no cut has seen.
        score: by which it is judged.
        texts: columns of the texts.
        keep: what may stay, of the MACs for a classifier (1 / 2, 1 / 5, ...), for a generator too.
    """

    name: str
    model: str
    train: str
    test: str
    score: str
    texts: tuple[str, ...]
    keep: tuple[float, ...]

    @property
    def labelled(self) -> bool:
        """Whether its rows have labels."""
        return self.score != "perplexity"


def _glue(task: str, model: str, *, texts: tuple[str, ...], test: str = "validation") -> Subject:
    train, held = (f"{_GLUE}/{task}/{part}-00000-of-00001.parquet" for part in ("train", test))
    return Subject(f"BERT-base {task.upper()}", model, train, held, "accuracy", texts, (1 / 2, 1 / 5, 1 / 10, 1 / 15))


def _writer(name: str, model: str) -> Subject:
    train, test = (f"{_WIKITEXT}/{part}-00000-of-00001.parquet" for part in ("train", "test"))
    return Subject(name, model, train, test, "perplexity", ("text",), (0.8, 0.65, 0.5))


SUBJECTS = (
    _glue("sst2", "yoshitomo-matsubara/bert-base-uncased-sst2", texts=("sentence",)),
    _glue(
        "mnli", "yoshitomo-matsubara/bert-base-uncased-mnli", texts=("premise", "hypothesis"), test="validation_matched"
    ),
    _glue("qnli", "yoshitomo-matsubara/bert-base-uncased-qnli", texts=("question", "sentence")),
    _writer("SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M"),
    _writer("Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
)

PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "BERT-base SST2": ("CoFi 93.0 at 60.1 % sparsity, 90.4 at 12.2x", "MiniLM-L12-H384 93.0 at 2.7x",
                       "xtremedistil-L6-H384 92.3 at 5.3x"),
    "BERT-base MNLI": ("CoFi 85.3 at 2.1x, 80.6 at 12.1x (dense 84.8)", "nn_pruning 83.71 at 2.0x, 81.03 at 3.44x",
                       "MiniLM-L12-H384 85.7 at 2.7x"),
    "BERT-base QNLI": ("CoFi 91.8 at 60.3 % sparsity, 86.1 at 12.1x",),
    "SmolLM2-135M": ("no published row of structured pruning was found",),
    "Qwen3-0.6B": ("no published row of structured pruning was found",),
}  # fmt: skip
"""Scores on the same test rows as their papers and repositories give them: V100 with a batch of 128 (CoFi), RTX 3090
(nn_pruning), model cards (the others). ZipLM: 95 % of dense or more at 15x, on GLUE as a whole."""


def command_of(module: Sequence[str] = (sys.executable, "-m", "secateur.cli")) -> Command:
    """Return what runs the command line in a process of its own."""

    def run(arguments: Sequence[str]) -> str:
        return subprocess.run([*module, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    return run


def row_of(
    subject: Subject, keep: float, *, dense: Path, train: str, test: str, run: Command, work: Path, epochs: float
) -> dict[str, Any]:
    """Prune to a size, score on the test rows, and time int8 (of a generator ONNX fp32) beside the dense model."""
    out = work / f"{subject.name.replace(' ', '_')}-{keep:.4f}"
    columns = [part for name in subject.texts for part in ("--text-column", name)]
    if subject.labelled:
        columns += ["--label-column", "label"]
    if not out.exists():
        asked = ["--macs", f"{keep:.6f}", "--epochs", f"{epochs:g}"]
        run(["prune", str(dense), "--data", train, "--out", str(out), *columns, *asked, "--json"])
    scores = {
        name: json.loads(run(["evaluate", str(folder), "--data", test, *columns, "--json"]))["scores"]
        for name, folder in (("dense", dense), ("pruned", out))
    }
    runtime = "onnx-int8" if subject.labelled else "onnx"
    timed = json.loads(run(["bench", str(dense), str(out), "--runtime", runtime, "--json"]))["results"]
    return {
        "subject": subject.name,
        "keep": keep,
        "epochs": epochs,
        "runtime": runtime,
        "dense": scores["dense"][subject.score]["value"],
        "pruned": scores["pruned"][subject.score]["value"],
        "speedup": timed[1]["speedup"],
    }


def run_all(
    subjects: Sequence[Subject],
    *,
    models: Path | None,
    rows: Path | None,
    epochs: float,
    run: Command,
    work: Path,
) -> list[dict[str, Any]]:
    """Make every row that is not there yet; return all of them.

    Args:
        subjects: which models.
        models: folder of what the hub would give; None asks the hub.
        rows: folder of what the hub would give; None asks the hub.
        epochs: of recovery.
        run: the command line.
        work: holds checkpoints and finished rows.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = work / "runs.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]  # one that a kill cut off is made again
    done = {(row["subject"], row["keep"], row["epochs"]) for row in found}
    for subject in subjects:
        missing = [keep for keep in subject.keep if (subject.name, keep, epochs) not in done]
        if not missing:
            continue
        dense = _model(subject, models, work)
        train, test = (_rows(subject, part, rows, work, dense=dense) for part in ("train", "test"))
        for keep in missing:
            row = row_of(subject, keep, dense=dense, train=train, test=test, run=run, work=work, epochs=epochs)
            with file.open("a", encoding="utf-8") as opened:
                opened.write(json.dumps(row) + "\n")
            found.append(row)
    return found


def _model(subject: Subject, models: Path | None, work: Path) -> Path:
    if models is not None:
        return models / subject.model.replace("/", "--")
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(subject.model, local_dir=work / "dense" / subject.model.replace("/", "--")))
    if any(folder.glob("*.safetensors")):
        return folder
    plain = folder.with_name(f"{folder.name}-converted")  # older classifiers of the hub are pickled
    if not plain.exists():
        command_of()(["convert", str(folder), "--out", str(plain)])
    return plain


def _rows(subject: Subject, part: str, rows: Path | None, work: Path, *, dense: Path) -> str:
    if rows is not None:
        return str(next(rows.glob(f"{subject.name.replace(' ', '_')}-{part}.*")))
    from huggingface_hub import HfFileSystem

    address = subject.train if part == "train" else subject.test
    file = work / "rows" / address.removeprefix("hf://").replace("/", "--")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        HfFileSystem().get_file(address, str(file))
    return str(named(file, subject, json.loads((dense / "config.json").read_text())) if subject.labelled else file)


def named(file: Path, subject: Subject, config: Mapping[str, Any]) -> Path:
    """Write a Parquet file of GLUE as CSV, its labels by the names that the model has for these numbers."""
    out = file.with_suffix(".csv")
    if not out.exists():
        columns = pq.read_table(file, columns=[*subject.texts, "label"]).to_pydict()
        names = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(len(set(columns["label"])))}
        columns["label"] = [names[str(label)] for label in columns["label"]]
        with replacing(out) as written, written.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    return out


def as_table(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of the table: what was measured, and beside the first of a model what others published."""
    table: list[tuple[str, ...]] = []
    for subject in SUBJECTS:
        mine = [row for row in found if row["subject"] == subject.name]
        beside = list(PUBLISHED[subject.name])
        for place in range(max(len(mine), len(beside))):
            row, scale = (mine[place] if place < len(mine) else None), 100 if subject.labelled else 1
            measured = ("", "", "", "") if row is None else (
                f"{row['keep']:.3f}", f"{scale * row['dense']:.2f}", f"{scale * row['pruned']:.2f}",
                f"{row['speedup']:.1f}x",
            )  # fmt: skip
            table.append((subject.name, *measured, beside[place] if place < len(beside) else ""))
    return table


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice([one.name for one in SUBJECTS]), help="These alone.")
@click.option("--models", type=click.Path(exists=True, path_type=Path), help="Folder of models, in place of the hub.")
@click.option("--rows", type=click.Path(exists=True, path_type=Path), help="Folder of rows, in place of the hub.")
@click.option("--epochs", default=3.0, show_default=True, help="Passes of recovery after a cut.")
@click.option("--show-only", is_flag=True, help="Make nothing, show what there is.")
@click.option("--out", type=click.Path(path_type=Path), help="File of the result.")
def main(
    only: tuple[str, ...], models: Path | None, rows: Path | None, epochs: float, show_only: bool, out: Path | None
) -> None:
    """Make the missing rows, print and store all."""
    chosen = [] if show_only else [one for one in SUBJECTS if not only or one.name in only]
    found = run_all(chosen, models=models, rows=rows, epochs=epochs, run=command_of(), work=_WORK)
    machine = environment()
    show(
        "Beside what others published",
        columns=("model", "MACs kept", "dense", "pruned", "speed-up", "published"),
        rows=as_table(found),
        notes=(
            "accuracy in percent on the validation rows of GLUE, perplexity on the test rows of WikiText-2; cut once, "
            f"{epochs:g} epochs of recovery; speed-up on ONNX Runtime at batch 1, int8 of classifiers",
        ),
        machine=machine,
    )
    write_results("published", {"rows": found, "environment": machine}, out=out)


if __name__ == "__main__":
    main()

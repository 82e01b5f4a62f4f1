"""``inspect``, ``bench`` and ``export``: work on a checkpoint folder, with or without a project."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from secateur.api.checkpoints import Target
    from secateur.config.base import Runtime

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_RUNTIMES = ("torch", "onnx", "onnx-int8")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CKPT")
@_JSON
def inspect(checkpoint: Path, as_json: bool) -> None:
    """Show widths, sizes and the card of a checkpoint.

    Example: secateur inspect models/r3
    """
    from secateur.cli import display
    from secateur.evaluation.summary import describe

    found = describe(resolve(str(checkpoint)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    display.checkpoint(checkpoint, found)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist.")
@_JSON
def convert(folder: Path, out: Path, as_json: bool) -> None:
    """Turn pickled weights (pytorch_model.bin) into safetensors.

    A pickle can run code when it is loaded, so nothing else here reads one. This opens it in a process without secrets,
    home and network, as weights alone: whatever asks for more is refused. Only convert what you would trust anyway.

    Example: secateur convert downloads/old-bert --out old-bert
    """
    from secateur.models.conversion import convert as converted

    found = converted(folder, out)
    if as_json:
        click.echo(json.dumps({"out": str(out), **asdict(found)}, indent=2))
        return
    files = found.files[0] if len(found.files) == 1 else f"{len(found.files)} files"
    click.echo(f"{out}: {found.tensors} tensors, {found.bytes / 1e6:.1f} MB in {files}; `secateur inspect {out}`")


@click.command()
@click.argument("checkpoints", type=click.Path(path_type=Path), metavar="CKPT...", nargs=-1, required=True)
@click.option("--runtime", type=click.Choice(_RUNTIMES), multiple=True, default=("onnx",), show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Rows per call.")
@click.option("--length", type=click.IntRange(min=1), default=32, show_default=True, help="Tokens per row.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--repeats", type=click.IntRange(min=3), default=100, show_default=True, help="Timed calls each.")
@_JSON
def bench(
    checkpoints: tuple[Path, ...],
    runtime: "tuple[Runtime, ...]",
    batch: int,
    length: int,
    threads: int,
    repeats: int,
    as_json: bool,
) -> None:
    """Time checkpoints in one interleaved run.

    The first one is the reference of the speed-up.

    Example: secateur bench models/baseline models/r3 --runtime onnx --batch 1 --length 32 --threads 1
    """
    from secateur.cli import display
    from secateur.inference.latency import bench as measure

    folders = [resolve(str(checkpoint)) for checkpoint in checkpoints]
    with tempfile.TemporaryDirectory() as workdir:
        results = measure(
            folders,
            runtimes=runtime,
            batch=batch,
            length=length,
            num_threads=threads,
            repeats=repeats,
            workdir=Path(workdir),
        )
    names = {str(folder): str(given) for folder, given in zip(folders, checkpoints, strict=True)}
    rows = [{**asdict(result), "checkpoint": names[str(result.checkpoint)]} for result in results]
    if as_json:
        click.echo(json.dumps({"results": rows}, indent=2))
        return
    made = display.table(
        f"batch {batch}, {length} tokens, {threads} thread{'s' if threads > 1 else ''}, {repeats} calls each in turn",
        "checkpoint", "runtime", ">median ms", ">p95 ms", ">speed-up",
    )  # fmt: skip
    for row in rows:
        made.add_row(
            display.plain(row["checkpoint"]),
            row["runtime"],
            f"{row['median_ms']:.2f}",
            f"{row['p95_ms']:.2f}",
            f"{row['speedup']:.2f}x",
        )
    display.show(made)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CKPT")
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "padded", "numpy"]),
    required=True,
    help="ONNX Runtime, plain transformers, or (static students) numpy.",
)
@click.option("--int8", is_flag=True, help="Quantise the weights to int8 (onnx only).")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist.")
def export(checkpoint: Path, target: "Target", int8: bool, out: Path) -> None:
    """Write a checkpoint for ONNX Runtime, plain transformers or numpy.

    onnx takes dynamic batch and length; padded loads by AutoModelForSequenceClassification.from_pretrained; numpy is a
    static student that reader.py beside it answers from, with Python and numpy alone.

    Example: secateur export models/r3 --to onnx --out exported
    """
    from secateur.api.checkpoints import export as write

    if int8 and target != "onnx":
        raise click.UsageError("--int8 goes with --to onnx")
    if out.exists():
        raise CheckpointError(f"--out {out} exists already; name a new folder")
    write(resolve(str(checkpoint)), out, to=target, int8=int8)
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    click.echo(f"{out}: {total / 1e6:.1f} MB")


def resolve(model: str) -> Path:
    """Return the checkpoint folder of ``models:/name@alias`` after its digests were checked, or the folder itself."""
    from secateur.registry.model_source import SCHEME
    from secateur.registry.model_source import resolve as resolve_source

    return resolve_source(None, model).checkpoint if model.startswith(SCHEME) else Path(model)

"""What does one layer of a large decoder cost to prune by ``obs``, and the whole? ``python -m benchmarks.layer_cost``.

One layer of the shape is pruned to half, with random weights in bf16, each figure in a fresh process. Layers go one
after the other, so a model takes as often as long, and the memory of one of them beside its weights.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks.report import environment, show, write_results
from secateur.budget.allocation import Limits
from secateur.budget.error_curves import masks_at
from secateur.config.one_shot import one_shot_settings
from secateur.data.tokens import from_lists
from secateur.families import family_of
from secateur.families.structures import Widths
from secateur.inference.at_rest import at_rest, computing_in_fp32
from secateur.pruning.repair import repair_
from secateur.second_order import layerwise
from secateur.second_order.blocks import with_own_projections
from secateur.second_order.calibration import moments_in_turn
from secateur.second_order.database import build
from secateur.training.batches import Batch, batches_of

_LENGTH, _ROWS = 128, 32
_NO_WORDS = 256
_PLANNED_ROWS = 1024
_NOTES = (
    "seconds of processor time, all threads together; pass, words and repair: per 1 000 tokens of calibration",
    "pass: forward, forward with its graph, back, and the moments; words: embeddings, head and back",
    "solve: order, errors and inverse of attention and feed-forward block; fit: best weights of half of the units",
    f"the whole: {_PLANNED_ROWS} rows of {_LENGTH} tokens, no search; MB: peak above imports, with the weights",
)


@dataclass(frozen=True)
class Shape:
    """A decoder with gated blocks."""

    layers: int
    hidden: int
    neurons: int
    heads: int
    key_value_heads: int
    words: int


SHAPES = {
    "0.5B": Shape(24, 896, 4864, 14, 2, 151_936),
    "1.5B": Shape(28, 1536, 8960, 12, 2, 151_936),
    "7B": Shape(32, 4096, 11_008, 32, 32, 32_000),
}
"""Those of Qwen2 and of Llama 2."""


def measure(shape: Shape, *, words: int, threads: int, rows: int = _ROWS) -> dict[str, float]:
    """Prune one layer in this process; return seconds of processor time, and MB."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(words, size=(rows, _LENGTH), dtype=np.int32)
    tokens = from_lists(list(ids), labels=np.zeros(rows, np.int64), given=())
    held = list(batches_of(tokens, batch_size=8, pad_token_id=0))
    layerwise.LARGE_BYTES = 0  # a single layer goes the way of all of them
    before = _peak_mb()
    with computing_in_fp32():
        model = at_rest(_one_layer(shape, words=words))
        thousands = rows * _LENGTH / 1000
        found = {"pass": _cpu_s(lambda: _pass(model, held)) / thousands}
        if words == _NO_WORDS:
            found |= _pruned(model, held, found["pass"] * thousands, thousands)
    return found | {"mb": _peak_mb() - before}


def _one_layer(shape: Shape, *, words: int) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=shape.hidden,
        intermediate_size=shape.neurons,
        num_hidden_layers=1,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    family_of(model).prepare_(model)
    return model


def _pass(model: PreTrainedModel, held: Sequence[Batch]) -> None:
    for _ in moments_in_turn(model, held, seed=0, precision="auto", weighting="fisher"):
        pass


def _pruned(model: PreTrainedModel, held: Sequence[Batch], pass_s: float, thousands: float) -> dict[str, float]:
    """Build the database, take half of the units, and let the rest make up for it."""
    start = time.process_time()
    limits = Limits.of(one_shot_settings({}))
    database = build(model, held, seed=0, precision="auto", limits=limits)
    solved = time.process_time()
    curves = database.curves
    half = Widths(
        heads=tuple(curve.kept[len(curve.kept) // 2] for curve in curves.heads),
        ffn=tuple(curve.kept[len(curve.kept) // 2] for curve in curves.ffn),
        head_dim=family_of(model).layers(model)[0].attention.head_dim,
    )
    dense = with_own_projections(model)
    database.stitch_(model, half)
    fitted = time.process_time()
    repair_(
        model,
        masks_at(curves, half),
        dense=dense,
        batches=lambda: held,
        mode="least_squares",
        seed=0,
        precision="auto",
        weights=database.token_weights,
    )
    return {
        "solve": solved - start - pass_s,
        "fit": fitted - solved,
        "repair": (time.process_time() - fitted) / thousands,
    }


def planned(shape: Shape, layer: dict[str, float], with_words: dict[str, float]) -> dict[str, float]:
    """Return what a whole model takes: hours of processor time, and GB beside imports.

    Args:
        shape: of the model.
        layer: ``measure`` of one layer without words.
        with_words: of the same with all of them.
    """
    thousands = _PLANNED_ROWS * _LENGTH / 1000
    words = max(with_words["pass"] - layer["pass"], 0.0)
    seconds = shape.layers * (thousands * (layer["pass"] + layer["repair"]) + layer["solve"] + layer["fit"])
    of_layer = 2 * shape.hidden * (2 * shape.hidden + 2 * shape.hidden * shape.key_value_heads / shape.heads)
    of_layer += 2 * 3 * shape.hidden * shape.neurons
    projections = shape.hidden * (shape.hidden + shape.neurons)
    # Of every layer but the measured one: the weights, and its last projections in fp32, as they were, and in the
    # database.
    others = (shape.layers - 1) * (of_layer + (4 - 2 + 2 + 2) * projections) + 2 * shape.hidden * shape.words
    return {"hours": (seconds + thousands * words) / 3600, "gb": others / 1e9 + layer["mb"] / 1e3}


def _cpu_s(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / 1e6


def _in_fresh_process(case: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.layer_cost", "--one", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(done.stderr.strip()[-300:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@click.command(help=__doc__)
@click.option("--one", default=None, hidden=True)
@click.option("--shapes", default="0.5B,7B", show_default=True, help=f"Of {', '.join(SHAPES)}.")
@click.option("--threads", default=2, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="File of the results.")
def main(one: str | None, shapes: str, threads: int, out: Path | None) -> None:
    """Measure a layer of each shape, and plan the whole."""
    if one is not None:
        case = json.loads(one)
        click.echo(json.dumps(measure(SHAPES[case["shape"]], words=case["words"], threads=case["threads"])))
        return
    entries = []
    for name in shapes.split(","):
        shape = SHAPES[name]
        layer, with_words = (
            _in_fresh_process({"shape": name, "words": words, "threads": threads}) for words in (_NO_WORDS, shape.words)
        )
        words = max(with_words["pass"] - layer["pass"], 0.0)
        whole = planned(shape, layer, with_words)
        entries.append({"shape": name, **asdict(shape), "layer": layer, "words": words, "whole": whole})
        click.echo(f"{name}: {json.dumps(entries[-1])}", err=True)
    columns = ("shape", "layers", "pass", "words", "solve", "fit", "repair", "MB", "the whole, h", "GB")
    rows = [
        (
            one["shape"],
            str(one["layers"]),
            *(f"{value:.2f}" for value in (one["layer"]["pass"], one["words"])),
            *(f"{one['layer'][key]:.1f}" for key in ("solve", "fit")),
            f"{one['layer']['repair']:.2f}",
            f"{one['layer']['mb']:.0f}",
            f"{one['whole']['hours']:.1f}",
            f"{one['whole']['gb']:.1f}",
        )
        for one in entries
    ]
    machine = environment()
    show("One layer of a decoder, by obs", columns=columns, rows=rows, notes=_NOTES, machine=machine)
    write_results("layer_cost", {"machine": machine, "entries": entries}, out=out)


if __name__ == "__main__":
    main()

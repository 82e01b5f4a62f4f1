"""How much faster is BERT-base at the sizes of the published 10x rows? ``python -m benchmarks.bert_base``.

Random weights: speed does not depend on them. Shapes have as many parameters in their layers as the rows have; where
the papers left them is not known, so they are spread over all layers, and gathered in half of them.
"""

import copy
from pathlib import Path
from typing import Any

import click
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.report import environment, show, write_results
from secateur.budget.cost import cost_of
from secateur.families.structures import Masks
from secateur.inference.latency import bench
from secateur.models.checkpoint import save
from secateur.models.surgery import cut_

_WORK = Path(".benchmarks") / "bert_base"
_LAYERS = 12
_SHAPES = {
    "CoFi 12.1x, spread": ((1,) * 10 + (0,) * 2, (152,) * 12),
    "CoFi 12.1x, gathered": ((2, 2, 2, 2, 1, 1) + (0,) * 6, (304,) * 6 + (0,) * 6),
    "ZipLM 15x, spread": ((1,) * 8 + (0,) * 4, (76,) * 12),
    "ZipLM 15x, gathered": ((2, 2, 1, 1, 1, 1) + (0,) * 6, (152,) * 6 + (0,) * 6),
}
"""Heads and neurons of every layer: 4.9 M parameters of 85 M (CoFi-MNLI-s95), and 3 M with at most 10 heads."""

_NOTES = (
    "ratios of one interleaved run: deployed = dense in ONNX Runtime fp32 over this model in int8; "
    "torch = dense in PyTorch over this in int8; alike = int8 over int8",
    "of one thread the milliseconds are those of its processor, which other work beside it does not lengthen",
    "published on a GPU with a batch of 128 (CoFi); here a CPU, one row",
)


def write_models(work: Path, *, layers: int = _LAYERS, **sizes: int) -> dict[str, Path]:
    """Write the dense model and one of each shape; those that are there stay.

    Args:
        work: holds a folder for each.
        layers: of the dense model; the shapes lose their last ones.
        sizes: of the dense model that are not those of BERT-base.
    """
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=layers, num_labels=3, **sizes)
    dense = BertForSequenceClassification(config).eval()
    heads, neurons = config.num_attention_heads, config.intermediate_size
    shapes = {"dense": ((heads,) * layers, (neurons,) * layers)} | _SHAPES
    folders = {name: work / name.replace(" ", "_").replace(",", "") for name in shapes}
    for name, (kept_heads, kept_neurons) in shapes.items():
        if folders[name].exists():
            continue
        model = BertForSequenceClassification(copy.deepcopy(config)).eval()  # a cut writes into it
        model.load_state_dict(dense.state_dict())
        masks = Masks(
            heads=tuple(torch.arange(heads) < count for count in kept_heads[:layers]),
            ffn=tuple(torch.arange(neurons) < count for count in kept_neurons[:layers]),
        )
        if name != "dense":
            cut_(model, masks)
        save(model, None, folders[name], card={"params": cost_of(model).params}, check_reload=False)
    return folders


def ratios(folders: dict[str, Path], *, length: int, threads: int, repeats: int, workdir: Path) -> dict[str, Any]:
    """Time all models on all runtimes in turn; return milliseconds and speed-ups by model."""
    found = bench(
        list(folders.values()),
        runtimes=("torch", "onnx", "onnx-int8"),
        batch=1,
        length=length,
        num_threads=threads,
        repeats=repeats,
        workdir=workdir,
    )
    times = {(one.checkpoint, one.runtime): one.median_ms for one in found}
    dense = folders["dense"]
    rows = {}
    for name, folder in folders.items():
        int8 = times[folder, "onnx-int8"]
        rows[name] = {
            "torch_ms": times[folder, "torch"],
            "onnx_ms": times[folder, "onnx"],
            "int8_ms": int8,
            "deployed": times[dense, "onnx"] / int8,
            "from_torch": times[dense, "torch"] / int8,
            "alike": times[dense, "onnx-int8"] / int8,
        }
    return rows


@click.command(help=__doc__)
@click.option("--length", default=128, show_default=True, help="Tokens per row.")
@click.option("--threads", default=1, show_default=True)
@click.option("--repeats", default=60, show_default=True, help="Timed calls each.")
@click.option("--out", type=click.Path(path_type=Path), help="File of the result.")
def main(length: int, threads: int, repeats: int, out: Path | None) -> None:
    """Write the models, time them, print and store."""
    folders = write_models(_WORK)
    rows = ratios(folders, length=length, threads=threads, repeats=repeats, workdir=_WORK / "exports")
    machine = environment()
    show(
        f"BERT-base (12 layers, 768 features), 1 row of {length} tokens, {threads} thread(s)",
        columns=("model", "torch ms", "ONNX ms", "int8 ms", "deployed", "from torch", "alike"),
        rows=[
            (
                name,
                *(f"{row[key]:.1f}" for key in ("torch_ms", "onnx_ms", "int8_ms")),
                *(f"{row[key]:.1f}x" for key in ("deployed", "from_torch", "alike")),
            )
            for name, row in rows.items()
        ],
        notes=_NOTES,
        machine=machine,
    )
    asked = {"length": length, "threads": threads, "repeats": repeats}
    write_results("bert_base", {"asked": asked, "rows": rows, "environment": machine}, out=out)


if __name__ == "__main__":
    main()

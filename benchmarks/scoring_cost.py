"""How do time and memory of scoring grow with the model, and with the calibration rows?

    python -m benchmarks.scoring_cost

Random weights: the cost does not depend on their values. Every figure comes from a fresh process, because the peak of
a process never falls again. What the layers of larger models cost is measured by ``benchmarks.layer_cost``.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification, BertConfig

from benchmarks.report import environment, show, write_results
from secateur.config.criteria import CRITERIA
from secateur.config.prune import PruneSettings
from secateur.config.schema import parse_config
from secateur.data.tokens import from_lists
from secateur.pruning.selection import Calibration, Dense, calibrate

_LENGTH, _VOCABULARY = 24, 1000
_ALL_ALIKE = {"layers.*.heads": 1.0, "layers.*.ffn": 1.0}
_NOTES = (
    "seconds: one pass of the criterion, median (lowest to highest); MB: peak of the process above its state with the "
    "model loaded",
    f"rows of {_LENGTH} tokens, batches of 32, one thread, fp32; 64 features per head, FFN four times the hidden size",
)


def measure(*, criterion: str, hidden: int, layers: int, rows: int, params: str) -> dict[str, float]:
    """Score a random model in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        max_position_embeddings=64,
        num_labels=3,
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    generator = np.random.default_rng(0)
    ids = generator.integers(_VOCABULARY, size=(rows, _LENGTH), dtype=np.int32)
    tokens = from_lists(list(ids), labels=generator.integers(3, size=rows))
    before = _peak_bytes()
    start = time.monotonic()
    values = parse_config(YAML(typ="safe").load(Path(params))).prune.model_dump(mode="json", exclude={"rounds"})
    values |= {"criterion": criterion, "budget": {"macs": 0.5}, "multipliers": _ALL_ALIKE, "repair": "none"}
    settings = PruneSettings.model_validate(values)
    calibration = Calibration(rows=tokens, settings=settings, seed=0, precision="fp32")
    calibrate(model, calibration, dense=Dense(model.config), kept=None)
    seconds = time.monotonic() - start
    return {"seconds": seconds, "peak_mb": (_peak_bytes() - before) / 1e6, "model_mb": before / 1e6}


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_fresh_process(case: dict[str, Any], *, repeats: int) -> dict[str, Any]:
    """Return the spread of ``measure`` over fresh processes, or the error line of the criterion."""
    found = []
    for _ in range(repeats):
        command = [sys.executable, "-m", "benchmarks.scoring_cost", "--one", json.dumps(case)]
        environ = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            return {**case, "error": lines[-1][:140]}
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {**case, "seconds": [f["seconds"] for f in found], "peak_mb": [f["peak_mb"] for f in found]}


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _row(entry: dict[str, Any]) -> list[str]:
    place = [entry["criterion"], str(entry["hidden"]), str(entry["layers"]), str(entry["rows"])]
    if "error" in entry:
        return [*place, "-", entry["error"]]
    return [*place, _spread(entry["seconds"], 2), _spread(entry["peak_mb"], 0)]


def _numbers(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    return [int(part) for part in value.split(",") if part]


@click.command()
@click.option("--one", default=None, hidden=True)
@click.option("--criteria", default=",".join(CRITERIA), help="[default: all]")
@click.option("--hidden", default="256,512,768,1024", show_default=True, callback=_numbers)
@click.option("--layers", default="4,12,24", show_default=True, callback=_numbers)
@click.option("--rows", default=128, show_default=True, help="calibration rows while the model grows")
@click.option("--more-rows", default="128,512,2048", show_default=True, callback=_numbers, help="on 384 x 6")
@click.option("--repeats", default=3, show_default=True)
@click.option("--params", default="params.yaml", show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(
    one: str | None,
    criteria: str,
    hidden: list[int],
    layers: list[int],
    rows: int,
    more_rows: list[int],
    repeats: int,
    params: str,
    out: Path | None,
) -> None:
    """Measure time and peak memory of scoring."""
    if one is not None:
        click.echo(json.dumps(measure(**json.loads(one))))
        return
    sizes = [(h, n, rows) for h in hidden for n in layers] + [(384, 6, count) for count in more_rows]
    entries = []
    for name in criteria.split(","):
        for number, (width, depth, count) in enumerate(sizes, start=1):
            case = {"criterion": name, "hidden": width, "layers": depth, "rows": count, "params": params}
            entry = in_fresh_process(case, repeats=repeats)
            entries.append({key: value for key, value in entry.items() if key != "params"})
            click.echo(f"{name} {number}/{len(sizes)}: hidden {width}, {depth} layers, {count} rows", err=True)
            if "error" in entry:
                break  # unfinished, or not for structures: one line says it
    columns = ("criterion", "hidden", "layers", "rows", "seconds", "MB above the model")
    show("Cost of scoring", columns=columns, rows=[_row(e) for e in entries], notes=_NOTES, machine=environment())
    write_results("scoring_cost", {"machine": environment(), "entries": entries}, out=out)


if __name__ == "__main__":
    main()

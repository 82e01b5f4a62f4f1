"""What does an accelerator do for training, scoring and calibration, beside the CPU of the same machine?

    make gpu                            # the tests that need one, then this
    python -m benchmarks.devices

Random weights and rows: the cost does not depend on their values. Devices take turns, piece by piece.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from benchmarks.report import environment, show, write_results
from secateur.config.training import TrainingSection
from secateur.data.tokens import TokenRows, from_lists
from secateur.determinism import fingerprint, fix_randomness
from secateur.inference.device import find_device
from secateur.inference.precision import narrow_stream
from secateur.second_order.calibration import moments
from secateur.training.batches import batches_of
from secateur.training.data_parallel import data_parallel
from secateur.training.objectives import LabelLoss, logits_of
from secateur.training.optimizer import optimizer_for
from secateur.training.validation import validate

_NOTES = (
    "rows per second, median (lowest to highest) of what fits into the seconds of a piece; run.precision auto",
    "training: forward, backward, optimiser; scoring: a pass in evaluation mode; calibration: the pass of obs",
)
_TRAINING: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-5, "weight_decay": 0.0, "warmup_fraction": 0.0}
_TRAINING |= {"label_smoothing": 0.0, "train_embeddings": True, "max_grad_norm": 1.0, "optimizer": "adamw"}


@dataclass(frozen=True)
class Case:
    """A model and its rows.

    Attributes:
        name: in the table.
        config: of a random model.
        rows: so many in a batch.
        length: tokens per row.
        on_cpu: the CPU takes part; a decoder of half a billion parameters would take minutes.
    """

    name: str
    config: PreTrainedConfig
    rows: int
    length: int
    on_cpu: bool

    @property
    def generates(self) -> bool:
        """Whether the model continues a text."""
        return not isinstance(self.config, BertConfig)

    def model(self) -> PreTrainedModel:
        """Return a random model in fp32."""
        torch.manual_seed(0)
        auto = AutoModelForCausalLM if self.generates else AutoModelForSequenceClassification
        model: PreTrainedModel = auto.from_config(self.config)
        return model

    def batch(self) -> TokenRows:
        """Return the rows of one step."""
        generator = np.random.default_rng(0)
        ids = generator.integers(10, self.config.vocab_size, size=(self.rows, self.length), dtype=np.int32)
        labels = np.zeros(self.rows, np.int64) if self.generates else generator.integers(2, size=self.rows)
        return from_lists(list(ids), labels=labels, given=(1,) if self.generates else None)


def cases(*, tiny: bool) -> Iterator[Case]:
    """Yield MiniLM-L6's shape and a decoder of 0.5 B parameters; ``tiny`` ones say whether this module works."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    minilm = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}
    decoder = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}
    grouped = {"num_key_value_heads": 2, "head_dim": 64, "tie_word_embeddings": True}
    words = (1000, 1000) if tiny else (30522, 151936)
    bert = BertConfig(vocab_size=words[0], **(sizes if tiny else minilm))
    qwen = Qwen3Config(vocab_size=words[1], **(sizes if tiny else decoder), **grouped)
    yield Case("MiniLM-L6, 32 x 28", bert, 4 if tiny else 32, 28, True)
    yield Case("MiniLM-L6, 256 x 64", bert, 4 if tiny else 256, 64, True)
    yield Case("decoder of 0.5 B, 8 x 256", qwen, 2 if tiny else 8, 16 if tiny else 256, tiny)


def measure(case: Case, device: torch.device, *, seconds: float) -> dict[str, list[float]]:
    """Return rows per second of every repetition, piece by piece."""
    fix_randomness(seed=0, num_threads=torch.get_num_threads(), device=device)
    model, rows = case.model().to(device), case.batch()
    pieces = {"training": _training(model, rows), "scoring": _scoring(model, rows), "calibration": _pass(model, rows)}
    found = {}
    for name, piece in pieces.items():
        with piece as step:
            found[name] = _rates(step, rows=len(rows), device=device, seconds=seconds)
    return found


@contextmanager
def _training(model: PreTrainedModel, rows: TokenRows) -> Iterator[Callable[[], object]]:
    @contextmanager
    def prepared(model: PreTrainedModel, _: int) -> Iterator[None]:
        with narrow_stream(model, "auto"):
            yield

    options: dict[str, Any] = {"precision": "auto", "seed": 0, "prepared": prepared}
    with data_parallel(model, rows=rows, batch_size=len(rows), objective=LabelLoss(0.0), **options) as gradients:
        settings = TrainingSection(batch_size=len(rows), **_TRAINING)
        optimizer = optimizer_for(
            model, settings=settings, num_parts=gradients.num_replicas, parallel_map=gradients.map
        )
        (batch,) = batches_of(rows, batch_size=len(rows), pad_token_id=0)
        gradients.train()

        def step() -> None:
            gradients.backward(batch.to(model.device))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        yield step


@contextmanager
def _scoring(model: PreTrainedModel, rows: TokenRows) -> Iterator[Callable[[], object]]:
    options: dict[str, Any] = {"batch_size": len(rows), "precision": "auto"}
    score = validate if rows.kind == "generation" else logits_of
    yield lambda: score(model, rows, **options)


@contextmanager
def _pass(model: PreTrainedModel, rows: TokenRows) -> Iterator[Callable[[], object]]:
    batch = list(batches_of(rows, batch_size=len(rows), pad_token_id=0))
    yield lambda: moments(model, batch, seed=0, precision="auto", weighting="fisher")


def _rates(step: Callable[[], object], *, rows: int, device: torch.device, seconds: float) -> list[float]:
    """Time repetitions, of which the first, which compiles, does not count."""
    rates: list[float] = []
    end = None
    while end is None or not rates or time.perf_counter() < end:
        started = time.perf_counter()
        step()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        if end is None:
            end = time.perf_counter() + seconds
        else:
            rates.append(rows / (time.perf_counter() - started))
    return rates


def _spread(rates: list[float]) -> str:
    return f"{np.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"


@click.command()
@click.option("--seconds", default=8.0, show_default=True, help="of every piece")
@click.option("--tiny", is_flag=True, help="tiny models: does it work?")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(seconds: float, tiny: bool, out: Path | None) -> None:
    """Time three pieces of work on every device that there is."""
    devices = list(dict.fromkeys([find_device("cpu"), find_device("auto")]))
    entries: list[dict[str, Any]] = []
    for case in cases(tiny=tiny):
        for device in devices:
            if device.type == "cpu" and not case.on_cpu:
                continue
            found = measure(case, device, seconds=seconds)
            told = {"precision": fingerprint(device=device)["auto_precision"], "rates": found}
            entries.append({"case": case.name, "device": fingerprint(device=device).get("device", "cpu"), **told})
            click.echo(f"{case.name} on {device}", err=True)
    rows = [
        [entry["case"], str(entry["device"]).split(",")[0], entry["precision"], *map(_spread, entry["rates"].values())]
        for entry in entries
    ]
    columns = ("work", "device", "precision", "training", "scoring", "calibration")
    show("Devices", columns=columns, rows=rows, notes=_NOTES, machine=environment())
    write_results("devices", {"machine": environment(), "entries": entries}, out=out)


if __name__ == "__main__":
    main()

"""How much faster is a training step when the threads share out its rows instead of every product?

    python -m benchmarks.training_step

Random weights and rows: the cost does not depend on their values. The ways take turns in one process; how threads wait
is read when torch is loaded, so either kind of waiting has a process of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedModel,
)

from benchmarks.report import environment, show, write_results
from secateur.config.training import TrainingSection
from secateur.data.tokens import TokenRows, from_lists
from secateur.determinism import fix_randomness
from secateur.inference.precision import narrow_stream
from secateur.training.attention import attention_as_products
from secateur.training.batches import collate
from secateur.training.data_parallel import data_parallel
from secateur.training.objectives import LabelLoss
from secateur.training.optimizer import optimizer_for

_NOTES = (
    "ms per step (forward, backward, optimiser; bf16 where the CPU has it), median (lowest to highest) over the rounds",
    "the ratio is that of the medians: all threads in every product against a replica per thread",
)
_POLICIES = {"passive": "asleep (secateur's setting)", "active": "spinning (torch's)"}
_WAYS = ("one thread", "threads in every product", "replicas")


@dataclass(frozen=True)
class Case:
    """A model and the rows of a step."""

    name: str
    model: PreTrainedModel
    rows: TokenRows
    optimizer: Literal["adamw", "muon"]


def _rows(count: int, length: int, *, generates: bool = False) -> TokenRows:
    generator = np.random.default_rng(0)
    ids = generator.integers(10, 4000, size=(count, length), dtype=np.int32)
    return from_lists(list(ids), labels=generator.integers(2, size=count), given=(1,) if generates else None)


def cases() -> Iterator[Case]:
    """Yield what is timed; no model drops attention weights, which would keep it from having replicas."""
    text, reviews, tweets = _rows(16, 96, generates=True), _rows(16, 64), _rows(32, 28)
    llama = AutoConfig.from_pretrained("examples/llama-reviews.json")
    bert = BertConfig(
        vocab_size=4000,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        attention_probs_dropout_prob=0.0,
    )
    yield Case("Llama 192 x 4, text of 16 x 96", AutoModelForCausalLM.from_config(llama), text, "muon")
    classifier = AutoModelForSequenceClassification
    yield Case("Llama 192 x 4, labels of 16 x 64", classifier.from_config(llama), reviews, "adamw")
    yield Case("BERT 384 x 6, labels of 32 x 28", classifier.from_config(bert), tweets, "adamw")


def measure(case: Case, *, num_threads: int, rounds: int, steps: int) -> dict[str, list[float]]:
    """Return the seconds per step of every round, way by way."""
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    for number in range(rounds + 1):
        for way in _WAYS:
            fix_randomness(seed=0, num_threads=1 if way == "one thread" else num_threads)
            seconds = _seconds_per_step(case, split=way == "replicas", steps=steps)
            if number > 0:  # kernels are compiled in the first round
                found[way].append(seconds)
    return found


def _seconds_per_step(case: Case, *, split: bool, steps: int) -> float:
    settings = TrainingSection(
        epochs=1,
        learning_rate=1e-5,
        optimizer=case.optimizer,
        batch_size=len(case.rows),
        weight_decay=0.0,
        warmup_fraction=0.0,
        label_smoothing=0.0,
        train_embeddings=True,
        max_grad_norm=1.0,
    )

    @contextmanager
    def prepared(model: PreTrainedModel, _: int) -> Iterator[None]:
        with narrow_stream(model, "auto"):
            yield

    parallel = data_parallel(
        case.model,
        rows=case.rows,
        batch_size=len(case.rows) if split else 1,
        objective=LabelLoss(0.0),
        precision="auto",
        seed=0,
        prepared=prepared,
    )
    batch = collate(case.rows, np.arange(len(case.rows)), pad_token_id=0)
    with attention_as_products(case.model, "auto", rows=case.rows), parallel as gradients:
        optimizer = optimizer_for(
            case.model, settings=settings, num_parts=gradients.num_replicas, parallel_map=gradients.map
        )
        gradients.train()
        for step in range(steps + 2):
            if step == 2:
                start = time.perf_counter()
            gradients.backward(batch)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return (time.perf_counter() - start) / steps


def _spread(seconds: Sequence[float]) -> str:
    return f"{1e3 * np.median(seconds):.0f} ({1e3 * min(seconds):.0f}-{1e3 * max(seconds):.0f})"


def in_fresh_process(policy: str, *, threads: int, rounds: int, steps: int) -> list[dict[str, Any]]:
    """Measure all cases in a process whose threads wait in this way."""
    options = ["--policy", policy, "--threads", str(threads), "--rounds", str(rounds), "--steps", str(steps)]
    command = [sys.executable, "-m", "benchmarks.training_step", *options]
    environ = os.environ | {"OMP_WAIT_POLICY": policy}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    return list(json.loads(done.stdout.splitlines()[-1]))


@click.command()
@click.option("--policy", type=click.Choice(list(_POLICIES)), default=None, hidden=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--steps", default=10, show_default=True, help="steps of a way before the next one's turn")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(policy: str | None, threads: int, rounds: int, steps: int, out: Path | None) -> None:
    """Time a step of several models in three ways."""
    if policy is not None:
        found = []
        for case in cases():
            seconds = measure(case, num_threads=threads, rounds=rounds, steps=steps)
            ratio = float(np.median(seconds[_WAYS[1]]) / np.median(seconds[_WAYS[2]]))
            found.append({"case": case.name, "waiting": policy, "seconds": seconds, "ratio": ratio})
        click.echo(json.dumps(found))
        return
    entries = [e for name in _POLICIES for e in in_fresh_process(name, threads=threads, rounds=rounds, steps=steps)]
    rows = [
        [e["case"], _POLICIES[e["waiting"]], *(_spread(e["seconds"][way]) for way in _WAYS), f"{e['ratio']:.2f}x"]
        for e in entries
    ]
    columns = ("step", "threads wait", *_WAYS, "ratio")
    show("A training step", columns=columns, rows=rows, notes=(*_NOTES, f"{threads} threads"), machine=environment())
    write_results("training_step", {"machine": environment(), "threads": threads, "entries": entries}, out=out)


if __name__ == "__main__":
    main()

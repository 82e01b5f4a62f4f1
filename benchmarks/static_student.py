"""What a static student is worth: ``python -m benchmarks.static_student PROJECT`` teaches some beside a built project.

The dense model, token files, words and splits of the project are taken as they are.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedModel

from benchmarks.report import environment, show, write_results
from secateur.budget.goal import Goal
from secateur.config.prune import PruneSettings, Round
from secateur.data.encoding import encode
from secateur.determinism import fix_randomness
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.formats.onnx import export_onnx
from secateur.inference.runners import open_folder
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.pruning.training import DenseModel
from secateur.pruning.tries import run_round
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.training.prepared_rows import read_prepared_rows

_DENSE = "models/baseline"
_NOTES = (
    "test macro-F1 of the int8 form, rows called alone; one call of one text, tokenizer included, one thread, all",
    "models in turn on the same texts; seconds of processor time of the round, evaluation of validation included",
)
Answer = Callable[[str], npt.NDArray[Any]]


def teach(project: Path, *, seed: int, min_count: int, out: Path) -> dict[str, float]:
    """Teach one student, save it, and return its validation scores and the processor time it took."""
    fix_randomness(seed=seed, num_threads=2)
    dense, model, card = load(project / _DENSE), load(project / _DENSE), Card.read(project / _DENSE)
    prepared, words = read_prepared_rows(project / "data/tokens"), load_tokenizer(project / _DENSE)
    vocabulary: Vocabulary = shared_vocabulary(words, words).narrowed_(model, prepared.train, min_count=min_count)
    length, started = card.require_max_length(), time.process_time()
    outcome = run_round(
        model,
        train=vocabulary.translate(prepared.train, max_length=length),
        validation=vocabulary.translate(prepared.validation, max_length=length),
        dense_model=DenseModel(
            model=dense,
            quality=card.metrics["validation_macro_f1"],
            logits=prepared.dense_logits,
            token_ids=vocabulary.dense_ids,
        ),
        goal=Goal(max_drop=0.05),
        settings=PruneSettings(),
        round_=Round(prev="baseline", student="static"),
        seed=seed,
        precision="fp32",
        title=f"seed {seed}",
    ).outcome
    took = time.process_time() - started
    kept = Card(task=card.task, labels=card.labels, max_length=length)
    save(outcome.model, vocabulary.tokenizer, out, card=kept, check_reload=False)
    return {"validation": outcome.scores.quality, "drop": outcome.achieved["max_drop"], "cpu_s": took}


def in_torch(folder: Path) -> Answer:
    """Return what answers a text with the logits of a checkpoint in PyTorch."""
    model: PreTrainedModel = load(folder)
    tokenizer, length = load_tokenizer(folder), Card.read(folder).require_max_length()

    def answer(text: str) -> npt.NDArray[Any]:
        ids = torch.tensor(encode(tokenizer, [text], max_length=length).ids)
        with torch.inference_mode():
            found: npt.NDArray[Any] = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
        return found

    return answer


def in_int8(folder: Path, scratch: Path) -> tuple[Answer, int]:
    """Return what answers a text with the logits of its int8 form, and the size of that on disk."""
    from tokenizers import Tokenizer

    out = export_onnx(folder, scratch / "int8", int8=True).parent
    runner, length = open_folder(out, runtime="onnx-int8", num_threads=1), Card.read(folder).require_max_length()
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.enable_truncation(length)

    def answer(text: str) -> npt.NDArray[Any]:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        found: npt.NDArray[Any] = runner(ids, np.ones_like(ids), None)[0]
        return found

    return answer, sum(file.stat().st_size for file in out.iterdir())


def times(answers: Mapping[str, Answer], texts: list[str]) -> dict[str, float]:
    """Return the median milliseconds of a call, all models in turn on every text."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {name: [] for name in answers}
    for text in texts[:20] + texts:
        for name, answer in answers.items():
            started = time.perf_counter()
            answer(text)
            found[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(values[20:])) for name, values in found.items()}


def score(answer: Answer, texts: list[str], labels: npt.NDArray[Any], num_labels: int) -> float:
    """Return the macro-F1 of what is said of texts one by one."""
    said = np.array([int(answer(text).argmax()) for text in texts])
    return float(macro_f1(confusion(labels, said, num_labels=num_labels)))


@click.command()
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seeds", default=5, show_default=True)
@click.option("--min-count", default=2, show_default=True, help="tokens rarer than this leave the vocabulary")
@click.option("--calls", default=400, show_default=True, help="timed calls of each model")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(project: Path, seeds: int, min_count: int, calls: int, out: Path | None) -> None:
    """Print the table, and write docs/results/static_student.json."""
    test = pq.read_table(project / "data/clean/test.parquet", columns=["text", "label"])
    texts, labels = test.column("text").to_pylist(), np.array(test.column("label").to_pylist())
    card, found = Card.read(project / _DENSE), list[dict[str, float]]()
    with tempfile.TemporaryDirectory() as scratch:
        dense, size = in_int8(project / _DENSE, Path(scratch) / "dense")
        answers: dict[str, Answer] = {"dense, PyTorch": in_torch(project / _DENSE), "dense, int8": dense}
        whole = {
            "dense, int8": {"test": score(dense, texts, labels, len(card.labels or ())), "bytes": float(size)},
            "dense, PyTorch": {"test": score(answers["dense, PyTorch"], texts, labels, len(card.labels or ()))},
        }
        for seed in range(seeds):
            folder = Path(scratch) / str(seed)
            taught = teach(project, seed=seed, min_count=min_count, out=folder / "model")
            answer, size = in_int8(folder / "model", folder)
            taught |= {"test": score(answer, texts, labels, len(card.labels or ())), "bytes": float(size)}
            found.append(taught)
            click.echo(f"seed {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in taught.items()))
            answers.setdefault("static, int8", answer)
        taken = times(answers, texts[:calls])
    machine = environment()
    show(
        f"{len(read_prepared_rows(project / 'data/tokens').train)} rows train, {len(texts)} test; {seeds} seeds",
        columns=("model", "macro-F1", "ms", "faster", "MB"),
        rows=[
            *((name, f"{one['test']:.4f}", *_time(taken, name), _mb(one.get("bytes"))) for name, one in whole.items()),
            (
                "static, int8",
                _spread([one["test"] for one in found]),
                *_time(taken, "static, int8"),
                _mb(found[0]["bytes"]),
            ),
        ],
        notes=_NOTES,
        machine=machine,
    )
    asked: dict[str, Any] = {"seeds": seeds, "min_count": min_count, "calls": calls}
    kept = {"environment": machine, "asked": asked, "students": found, "dense": whole, "median_ms": taken}
    write_results("static_student", kept, out=out)


def _time(taken: Mapping[str, float], name: str) -> tuple[str, str]:
    return f"{taken[name]:.3f}", f"{taken['dense, PyTorch'] / taken[name]:.0f}x"


def _mb(size: float | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f}"


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    main()

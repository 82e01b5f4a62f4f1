"""What does recovery under perturbed embeddings buy? ``python -m benchmarks.adversarial_recovery`` prints it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.material import BASELINE, Material, read_project
from benchmarks.report import environment, points, show, write_results
from secateur.config.prune import Round
from secateur.determinism import fix_randomness
from secateur.evaluation.robustness import Robustness, robustness
from secateur.models.checkpoint import load_tokenizer
from secateur.pruning.round import prune_
from secateur.pruning.training import DenseModel

_NOTES = (
    "test macro-F1, clean and under each attack, on one sample of rows; one seed",
    "every pruned model is the same cut; only the perturbation of its recovery differs (epsilon 0 = none), and a step "
    "with one costs two passes",
)


def recovered(material: Material, *, fraction: float, epsilon: float, epochs: float) -> PreTrainedModel:
    """Cut the dense model once and train it under perturbations of this size."""
    settings = material.config.prune
    settings = settings.model_copy(
        update={"recovery": settings.recovery.model_copy(update={"adversarial_epsilon": epsilon})}
    )
    fix_randomness(seed=0, num_threads=material.config.run.num_threads)
    outcome = prune_(
        material.dense(),
        train=material.train,
        validation=material.validation,
        dense_model=DenseModel(
            model=material.dense(),
            quality=material.card()["metrics"]["validation_macro_f1"],
            logits=material.logits,
            table=material.table,
        ),
        target=fraction,
        settings=settings,
        round_=Round(prev="baseline", epochs=epochs),
        seed=0,
        precision=material.config.run.precision,
        title=f"epsilon {epsilon:g}",
    )
    return outcome.model


@click.command()
@click.option("--project", default=Path(), type=click.Path(path_type=Path), help="folder of a finished `secateur run`")
@click.option("--params", default=None, type=click.Path(path_type=Path), help="[default: PROJECT/params.yaml]")
@click.option("--fraction", default=0.25, show_default=True, help="of dense that stays, in the unit of the budget")
@click.option("--epsilons", default="0,0.5,1", show_default=True, help="L2 norms of the perturbation of a row")
@click.option("--epochs", default=1.0, show_default=True)
@click.option("--rows", default=12_000, show_default=True, help="training rows; 0 = all")
@click.option("--attacked", default=512, show_default=True, help="test rows that are attacked")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(
    project: Path,
    params: Path | None,
    fraction: float,
    epsilons: str,
    epochs: float,
    rows: int,
    attacked: int,
    out: Path | None,
) -> None:
    """Recover one cut with and without perturbed embeddings, and attack what comes out."""
    material = read_project(project, params=params or project / "params.yaml", num_rows=rows or None)
    tokenizer = load_tokenizer(project / BASELINE)
    table = pq.read_table(project / "data/clean/test.parquet", columns=["text", "label"])
    texts, labels = table.column("text").to_pylist(), table.column("label").to_pylist()
    entries = {"dense": _attack(material.dense(), tokenizer, texts, labels, material=material, num_rows=attacked)}
    for part in epsilons.split(","):
        model = recovered(material, fraction=fraction, epsilon=float(part), epochs=epochs)
        name = f"pruned, epsilon {float(part):g}"
        entries[name] = _attack(model, tokenizer, texts, labels, material=material, num_rows=attacked)
        click.echo(f"{name}: done", err=True)
    attacks = list(entries["dense"]["attacks"])
    notes = (*_NOTES, f"{fraction:g} of dense stays; {epochs:g} epochs of {len(material.train)} rows")
    show(
        "Adversarial recovery",
        columns=("model", "clean", *attacks, "mean of attacks", "change by attacks"),
        rows=[_row(name, entry) for name, entry in entries.items()],
        notes=notes,
        machine=environment(),
    )
    result = {"machine": environment(), "fraction": fraction, "epochs": epochs, "rows": len(material.train)}
    write_results("adversarial_recovery", {**result, "attacked_rows": attacked, "models": entries}, out=out)


def _attack(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    labels: list[int],
    *,
    material: Material,
    num_rows: int,
) -> dict[str, Any]:
    settings = material.config.evaluate.robustness.model_copy(update={"rows": num_rows})
    found: Robustness = robustness(
        model,
        tokenizer,
        texts,
        labels,
        settings=settings,
        max_length=int(material.card()["max_length"]),
        batch_size=material.config.evaluate.batch_size,
        precision="fp32",
        seed=0,
    )
    attacks = {name: score.macro_f1 for name, score in found.attacks.items()}
    return {"clean": found.clean.macro_f1, "attacks": attacks, "robust_macro_f1": found.robust_macro_f1}


def _row(name: str, entry: Mapping[str, Any]) -> list[str]:
    scores = [entry["clean"], *entry["attacks"].values(), entry["robust_macro_f1"]]
    return [name, *(f"{score:.4f}" for score in scores), points(entry["robust_macro_f1"] - entry["clean"])]


if __name__ == "__main__":
    main()

"""What does each criterion lose without any training? ``python -m benchmarks.retraining_free`` prints it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.report import environment, points, show, write_results
from benchmarks.subject import Subject, read_project
from secateur.config.criteria import CRITERIA
from secateur.config.prune import Budget, PruneSettings
from secateur.determinism import fix_randomness
from secateur.errors import SecateurError
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.models.surgery import cut_
from secateur.pruning.selection import Calibration, Dense, calibrate, calibration_sample
from secateur.training.objectives import logits_of

_UNFINISHED = (SecateurError, KeyError, TypeError, ValueError, NotImplementedError, AttributeError)
_NOTES = (
    "points of test macro-F1 lost against dense and seconds of the cut: median (lowest to highest) over seeds of the "
    "calibration rows",
    "MACs: of the encoder, as a fraction of dense; the cut, its repair included, is all that happens",
)


def macro_f1_of(model: Any, subject: Subject) -> float:
    """Score a model on the test rows, fp32."""
    logits = logits_of(model, subject.test, batch_size=64, precision="fp32")
    predicted = logits.argmax(dim=-1).numpy()
    return float(macro_f1(confusion(subject.test.labels, predicted, num_labels=logits.shape[-1])))


def cut_once(subject: Subject, settings: PruneSettings, *, fraction: float, seed: int) -> tuple[float, float]:
    """Return macro-F1 and seconds of one cut."""
    model = subject.dense()
    rows = calibration_sample(subject.train, num_rows=settings.calibration_rows, seed=seed)
    precision = subject.config.run.precision
    start = time.monotonic()
    calibration = Calibration(rows=rows, settings=settings, seed=seed, precision=precision)
    selector = calibrate(model, calibration, dense=Dense(subject.dense().config), kept=None)
    cut_(model, selector.select_(model, target=fraction))
    seconds = time.monotonic() - start
    return macro_f1_of(model, subject), seconds


def settings_for(subject: Subject, *, criterion: str, repair: str, fraction: float) -> PruneSettings:
    """Return the shipped settings with another criterion, repair and budget; validated, so that misfits are told."""
    values = PruneSettings.model_dump(subject.config.prune, mode="json")
    values |= {"criterion": criterion, "budget": Budget(macs=fraction).model_dump(mode="json")}
    if "repair" in values:
        values["repair"] = repair
    values.pop("rounds", None)
    if criterion == "fixed_weight" and not values.get("multipliers"):
        values["multipliers"] = {"layers.*.heads": 1.0, "layers.*.ffn": 1.0}
    return PruneSettings.model_validate(values)


@click.command()
@click.option("--project", default=Path(), type=click.Path(path_type=Path), help="folder of a finished `secateur run`")
@click.option("--params", default=None, type=click.Path(path_type=Path), help="[default: PROJECT/params.yaml]")
@click.option("--fractions", default="0.75,0.5,0.35", show_default=True, help="encoder MACs that stay")
@click.option("--criteria", default=",".join(CRITERIA), help="[default: all]")
@click.option("--repairs", default="none,bias,least_squares", show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--rows", default=0, help="training rows to draw from; 0 = all")
@click.option("--threads", default=2, show_default=True)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
def main(
    project: Path,
    params: Path | None,
    fractions: str,
    criteria: str,
    repairs: str,
    seeds: int,
    rows: int,
    threads: int,
    out: Path | None,
) -> None:
    """Compare criteria and repairs right after the cut."""
    fix_randomness(seed=0, num_threads=threads)
    subject = read_project(project, params=params or project / "params.yaml", num_rows=rows or None)
    dense = macro_f1_of(subject.dense(), subject)
    budgets = [float(part) for part in fractions.split(",")]
    entries: list[dict[str, Any]] = []
    skipped: list[str] = []
    for criterion in criteria.split(","):
        for repair in repairs.split(","):
            try:
                entries.append(_entry(subject, criterion, repair, budgets=budgets, seeds=seeds, dense=dense))
            except _UNFINISHED as error:
                reason = " ".join(str(error).split())[:140]
                skipped.append(f"{criterion}, repair {repair}: {type(error).__name__}: {reason}")
                click.echo(f"skipped {skipped[-1]}", err=True)
                continue
            click.echo(f"{criterion}, repair {repair}: done", err=True)
    columns = ("criterion", "repair", *(f"lost at {fraction:g} MACs" for fraction in budgets), "seconds")
    notes = (*_NOTES, f"dense test macro-F1 {dense:.4f}", *(f"skipped: {line}" for line in skipped))
    show("Without retraining", columns=columns, rows=[_row(e) for e in entries], notes=notes, machine=environment())
    result = {"machine": environment(), "dense_macro_f1": dense, "entries": entries, "skipped": skipped}
    write_results("retraining_free", result | {"threads": threads}, out=out)


def _entry(
    subject: Subject, criterion: str, repair: str, *, budgets: list[float], seeds: int, dense: float
) -> dict[str, Any]:
    entry: dict[str, Any] = {"criterion": criterion, "repair": repair, "lost": {}, "seconds": []}
    for fraction in budgets:
        settings = settings_for(subject, criterion=criterion, repair=repair, fraction=fraction)
        runs = [cut_once(subject, settings, fraction=fraction, seed=seed) for seed in range(seeds)]
        entry["lost"][f"{fraction:g}"] = [dense - score for score, _ in runs]
        entry["seconds"] += [seconds for _, seconds in runs]
    return entry


def _row(entry: Mapping[str, Any]) -> list[str]:
    def spread(values: list[float], show_: Any) -> str:
        return f"{show_(np.median(values))} ({show_(min(values))} to {show_(max(values))})"

    losses = [spread(values, points) for values in entry["lost"].values()]
    return [entry["criterion"], entry["repair"], *losses, spread(entry["seconds"], lambda value: f"{value:.1f}")]


if __name__ == "__main__":
    main()

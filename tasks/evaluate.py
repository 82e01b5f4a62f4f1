"""``evaluate``: every model on the test rows, which nothing before it may read; and measured times."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.config.baseline import MaxLength
from secateur.config.evaluate import EvaluateSection
from secateur.config.run import RunSection
from secateur.kinds.registry import kind_named
from secateur.workflow.job import Job
from secateur.workflow.stage import Output, Stage, section, value

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def declare(config: "RunConfig", _root: Path) -> list[Stage]:
    """Read the test rows, the checkpoints, and what models are compared with."""
    kind = kind_named(config.run.task)
    parts = ("test", *kind.evaluated_with(config.evaluate))
    inputs = {part: f"data/clean/{part}.parquet" for part in parts} | {"labels": "data/clean/labels.json"}
    if config.evaluate.judge is not None:
        inputs["judge"] = config.evaluate.judge
    inputs |= {f"model.{name}": f"models/{name}" for name in ("baseline", *config.prune.rounds)}
    return [
        Stage(
            name="evaluate",
            inputs=inputs,
            parameters=(section("run"), section("evaluate"), value("max_length", "baseline.max_length")),
            outputs={
                "metrics": Output("reports/metrics.json", "metric"),
                "details": Output("reports/details.json"),
                "predictions": Output("reports/predictions.parquet"),
                "plot": Output("reports/quality.csv", "plot"),
            },
            effects={"latency": "reports/latency.json", "exports": ".secateur/exports"},
        )
    ]


def run(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: MaxLength) -> None:
    """Score the dense model and what every round tried.

    Inputs are ``test`` (parquet), ``labels`` (JSON) and ``model.baseline``, ``model.r1``, ..., and where they are
    needed ``train``, ``validation`` (parquet) and ``judge`` (a checkpoint). Outputs are ``metrics`` and ``details``
    (JSON), ``predictions`` (parquet) and ``plot`` (CSV).

    Raises:
        ConfigError: the judge does not know what the generators can be asked for, or the device is not there.
    """
    from secateur.evaluation.comparison import write_plot
    from secateur.evaluation.findings import Given
    from secateur.files import write_json
    from secateur.inference.device import enter
    from secateur.workflow.exports import exports_of
    from secateur.workflow.tried import entries_of_rounds, models_of

    enter(run)
    with exports_of(job) as exports:
        folders = models_of(job)
        given = Given(folders, job.inputs, run=run, settings=evaluate, max_length=max_length, exports=exports)
        found = kind_named(run.task).evaluate_models(given)
    simple = {} if found.baseline is None else {"reference": found.baseline}
    rounds = entries_of_rounds(job, found.metrics)
    write_json(job.outputs["metrics"], {"baseline": found.metrics["baseline"], "rounds": rounds, **simple})
    write_json(job.outputs["details"], found.details)
    found.write_predictions(job.outputs["predictions"])
    write_plot(job.outputs["plot"], found.metrics, scores=found.plot)


def measure(job: Job, *, run: RunSection, evaluate: EvaluateSection, max_length: MaxLength) -> None:
    """Write the effect ``latency``, unless the file already describes these weights on this machine.

    The effect ``exports``, where it is declared, is the folder of ONNX exports that ``run`` made and ``register``
    publishes; exports of other weights are removed from it.

    A generator's time is that of a token; what else its kind measures of speed stands beside it. The driver calls this
    with the arguments of ``run``; ``max_length`` does not matter here.
    """
    from secateur.files import write_json
    from secateur.inference.latency import bench
    from secateur.inference.machine import describe_machine
    from secateur.models.card import Card
    from secateur.workflow.exports import exports_of, remove_other_exports
    from secateur.workflow.tried import models_of

    path, folders, settings = job.effects["latency"], models_of(job), evaluate.latency
    kind = kind_named(run.task)
    described: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "machine": describe_machine(),
        "weights": {name: Card.read(folder).weights_sha256 for name, folder in folders.items()},
        **kind.describe_speed(evaluate),
    }
    with exports_of(job) as workdir:
        remove_other_exports(workdir, folders.values())
        if _measured_before(path, described):
            return
        results = bench(
            list(folders.values()),
            runtimes=settings.runtimes,
            batch=settings.batch,
            length=settings.length,
            num_threads=settings.num_threads,
            repeats=settings.repeats,
            workdir=workdir,
        )
        further = kind.measure_speed(folders, settings=evaluate, exports=workdir)
    by_folder = {str(folder): name for name, folder in folders.items()}
    rows = [
        {
            "checkpoint": by_folder[str(result.checkpoint)],
            "runtime": result.runtime,
            "median_ms": result.median_ms,
            "p95_ms": result.p95_ms,
            "speedup": result.speedup,
        }
        for result in results
    ]
    write_json(path, {**described, "results": rows, **further})


def _measured_before(path: Path, described: Mapping[str, Any]) -> bool:
    """Tell whether the file holds a measurement of the same weights, settings and machine."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in described.items())

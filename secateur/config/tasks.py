"""What each task needs of the other sections, and what means nothing in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig


def check_task(config: "RunConfig") -> None:
    """Refuse parameters that do not go with ``run.task``.

    Raises:
        ValueError: naming the first of them, what was found and what would work.
    """
    problems = _of_classification(config) if config.run.task == "classification" else _of_generation(config)
    for problem in problems:
        raise ValueError(f"{problem} (run.task is {config.run.task})")


def _of_classification(config: "RunConfig") -> Iterator[str]:
    if config.ingest.label_column is None:
        yield "ingest.label_column must name the column of the labels, found null"
    if config.ingest.format == "text":
        yield "ingest.format text makes one row of a file; labelled rows come from csv, jsonl, parquet or lines"
    if config.clean.split != "none":
        yield f"clean.split must be none, found {config.clean.split}: a label belongs to a whole text"
    if config.baseline.control:
        yield "baseline.control must be false: labels are what the model predicts, not what it is told"
    if config.evaluate.judge is not None:
        yield f"evaluate.judge must be null, found {config.evaluate.judge}: it tells the label of a generated text"
    if config.prune.recovery.best_by == "perplexity":
        yield "prune.recovery.best_by must be macro_f1 or loss, found perplexity"


def _of_generation(config: "RunConfig") -> Iterator[str]:
    if config.baseline.control and config.ingest.label_column is None:
        yield "baseline.control needs ingest.label_column, found null"
    if config.evaluate.judge is not None and not config.baseline.control:
        yield "evaluate.judge needs baseline.control: true, since it tells whether a text has the label that was asked for"
    if config.prune.recovery.best_by == "macro_f1":
        yield "prune.recovery.best_by must be perplexity or loss, found macro_f1"
    if config.prune.max_robust_drop is not None:
        yield f"prune.max_robust_drop must be null, found {config.prune.max_robust_drop:g}: attacks need labels"
    for name, runtime in (
        ("evaluate.deployed", config.evaluate.deployed),
        ("register.runtime", config.register_.runtime),
    ):
        if runtime == "onnx-int8":
            # One scale of activations for all rows of a call: a text would depend on those written beside it.
            yield f"{name} must be torch or onnx, found onnx-int8"
    if config.evaluate.robustness.rows:
        yield f"evaluate.robustness.rows must be 0, found {config.evaluate.robustness.rows}: attacks need labels"

"""``report``: what the other stages wrote becomes one HTML page."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.config.report import ReportSection
from secateur.errors import CheckpointError, DataError, ProjectError
from secateur.models.card import CARD, Card
from secateur.workflow.job import Job
from secateur.workflow.stage import Stage, section
from secateur.workflow.tried import card_of

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig
    from secateur.report.results import HistoryRow

_MODEL, _HISTORY = "model.", "history."


def declare(config: "RunConfig", _root: Path) -> list[Stage]:
    """Show all that was written, also by commands outside of the graph."""
    names = ("baseline", *config.prune.rounds)
    return [
        Stage(
            name="report",
            inputs={
                "metrics": "reports/metrics.json",
                "details": "reports/details.json",
                "data": "reports/data.json",
                **{f"{_MODEL}{name}": f"models/{name}" for name in names},
                **{f"{_HISTORY}{name}": f"reports/training/{name}.csv" for name in names},
            },
            parameters=(section("report"),),
            effects={"page": "reports/report.html"},
            effect_inputs=(
                "reports/latency.json",
                "reports/registered.json",
                "reports/gate.json",
                "reports/drift.json",
                "reports/retrain.json",
                "reports/live.json",
            ),
        )
    ]


def measure(job: Job, *, report: ReportSection) -> None:
    """Write the effect ``page`` from metrics, details, the data report, cards and histories.

    Inputs are ``metrics``, ``details``, ``data``, and per model ``model.NAME`` (a checkpoint folder, of which
    only the card is read) and ``history.NAME``. What is written outside of the
    graph or never compared (``latency``, ``registered``, ``gate``, ``drift``, ``retrain``, ``live``) is shown when it
    is there.

    Raises:
        CheckpointError: a model folder has no card.
        DataError: a file is not the JSON or CSV that its stage writes.
        ProjectError: a file is missing.
    """
    from secateur.files import write_text
    from secateur.report.page import render
    from secateur.report.results import ReportData

    page = render(
        ReportData(
            title=report.title,
            metrics=_read_json(job.inputs["metrics"]),
            details=_read_json(job.inputs["details"]),
            data=_read_json(job.inputs["data"]),
            latency=_read_effect(job, "latency"),
            registered=_read_effect(job, "registered"),
            gate=_read_effect(job, "gate"),
            drift=_read_effect(job, "drift"),
            retrain=_read_effect(job, "retrain"),
            cards={name: _read_card(path) for name, path in _named(job, _MODEL)},
            histories={name: _read_history(path) for name, path in _named(job, _HISTORY)},
            max_examples=report.max_examples,
            live=_read_live(job),
        )
    )
    write_text(job.effects["page"], page)


def _named(job: Job, prefix: str) -> list[tuple[str, Path]]:
    return [(name.removeprefix(prefix), path) for name, path in job.inputs.items() if name.startswith(prefix)]


def _read_effect(job: Job, name: str) -> dict[str, Any] | None:
    path = job.effects.get(name)
    return _read_json(path) if path is not None and path.exists() else None


def _read_live(job: Job) -> dict[str, Any] | None:
    from secateur.scheduling.live import live_in

    path = job.effects.get("live")
    found = None if path is None else live_in(path)
    return None if found is None else found.model_dump(mode="json")


def _read_card(folder: Path) -> Card:
    if not (folder / CARD).exists():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CARD}; run the stage that makes it again")
    return card_of(folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); run the stage that writes it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not an object; run the stage that writes it again")
    return value


def _read_history(path: Path) -> "list[HistoryRow]":
    rows = csv.DictReader(_read_text(path).splitlines())
    try:
        return [{name: float(value) if value else None for name, value in row.items()} for row in rows]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} holds something that is not a number ({error})") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ProjectError(f"{path} does not exist; run the stage that writes it first") from error

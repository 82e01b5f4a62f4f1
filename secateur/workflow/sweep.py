"""A sweep over a project's baseline: the results as JSON and SVG under ``reports/``."""

from collections.abc import Sequence
from typing import Any

from secateur.config.prune import BudgetKind
from secateur.config.schema import RunConfig
from secateur.files import replacing, write_json
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.elsewhere import executing
from secateur.workflow.latency_table import ensure
from secateur.workflow.project import Project
from secateur.workflow.stage import LATENCY_TABLE

SWEEP, PLOT = "reports/sweep.json", "reports/sweep.svg"

_TOKENS, _DENSE = "data/tokens", "models/baseline"
_MODULE = "secateur.workers.sweep"


def run_sweep(
    project: Project, config: RunConfig, *, methods: Sequence[str], kind: BudgetKind, fractions: Sequence[float]
) -> dict[str, Any]:
    """Sweep the dense model of a project whose baseline is up to date; nothing of ``dvc.lock`` is touched.

    On an engine every method is a piece of work of its own: its budgets share what it has calibrated.

    Returns:
        The content of ``reports/sweep.json``: ``dense``, ``points``, ``calibration_s``.
    """
    from secateur.pruning.sweep import joined
    from secateur.report.sweep_plot import draw_sweep

    _ensure_table(project, config, kind=kind)
    with executing(project, config) as elsewhere:
        if elsewhere is None:
            values = swept(project, config, methods=methods, kind=kind, fractions=fractions)
        else:
            read = [_TOKENS, _DENSE, *([LATENCY_TABLE] if kind == "latency" else [])]
            store, asked = DvcStore(project), {"kind": kind, "fractions": list(fractions)}
            sent = [
                elsewhere.send(
                    store, f"sweep of {method}", _MODULE, read=read, code="prune", asked={**asked, "methods": [method]}
                )
                for method in methods
            ]
            values = joined([found for one in sent if (found := one.answer().said) is not None])
    with replacing(project.root / SWEEP) as path:
        write_json(path, values)
    with replacing(project.root / PLOT) as path:
        draw_sweep(values, path)
    return values


def swept(
    project: Project, config: RunConfig, *, methods: Sequence[str], kind: BudgetKind, fractions: Sequence[float]
) -> dict[str, Any]:
    """Sweep in this process; return what ``run_sweep`` does, and write nothing.

    Measured prices that a budget needs lie in the project's root already.
    """
    from secateur.budget.latency_table import LatencyTable
    from secateur.inference.device import enter
    from secateur.models.checkpoint import load
    from secateur.pruning.sweep import sweep
    from secateur.training.prepared_rows import read_prepared_rows

    device = enter(config.run)
    prepared = read_prepared_rows(project.root / _TOKENS)
    result = sweep(
        load(project.root / _DENSE).to(device),
        train=prepared.train,
        validation=prepared.validation,
        methods=methods,
        kind=kind,
        fractions=fractions,
        settings=config.prune,
        seed=config.run.seed,
        precision=config.run.precision,
        table=LatencyTable.read(project.root / LATENCY_TABLE) if kind == "latency" else None,
    )
    return {"kind": kind, **result.as_dict()}


def _ensure_table(project: Project, config: RunConfig, *, kind: BudgetKind) -> None:
    """Measure the project's prices when the sweep is the first to need them, before anything else runs."""
    if kind != "latency":
        return
    budget = config.prune.budget.model_copy(update=dict.fromkeys(type(config.prune.budget).model_fields))
    asked = config.prune.model_copy(update={"budget": budget.model_copy(update={"latency": 0.5})})
    ensure(project, config.model_copy(update={"prune": asked}))

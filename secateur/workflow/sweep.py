"""A sweep over a project's baseline: the results as JSON and SVG under ``reports/``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.config.prune import BudgetKind
from secateur.config.schema import RunConfig
from secateur.files import replacing, write_json
from secateur.workflow.latency_table import ensure
from secateur.workflow.project import Project
from secateur.workflow.stage import LATENCY_TABLE

if TYPE_CHECKING:
    from secateur.budget.latency_table import LatencyTable

SWEEP, PLOT = "reports/sweep.json", "reports/sweep.svg"


def run_sweep(
    project: Project, config: RunConfig, *, methods: Sequence[str], kind: BudgetKind, fractions: Sequence[float]
) -> dict[str, Any]:
    """Sweep the dense model of a project whose baseline is up to date; nothing of ``dvc.lock`` is touched.

    Returns:
        The content of ``reports/sweep.json``: ``dense``, ``points``, ``calibration_s``.
    """
    from secateur.inference.device import enter
    from secateur.models.checkpoint import load
    from secateur.pruning.sweep import sweep
    from secateur.report.sweep_plot import draw_sweep
    from secateur.training.prepared_rows import read_prepared_rows

    device = enter(config.run)
    prepared = read_prepared_rows(project.root / "data/tokens")
    result = sweep(
        load(project.root / "models/baseline").to(device),
        train=prepared.train,
        validation=prepared.validation,
        methods=methods,
        kind=kind,
        fractions=fractions,
        settings=config.prune,
        seed=config.run.seed,
        precision=config.run.precision,
        table=_table(project, config, kind=kind),
    )
    values = {"kind": kind, **result.as_dict()}
    with replacing(project.root / SWEEP) as path:
        write_json(path, values)
    with replacing(project.root / PLOT) as path:
        draw_sweep(values, path)
    return values


def _table(project: Project, config: RunConfig, *, kind: BudgetKind) -> "LatencyTable | None":
    """Return the project's measured prices; they are measured when the sweep is the first to need them."""
    if kind != "latency":
        return None
    from secateur.budget.latency_table import LatencyTable

    budget = config.prune.budget.model_copy(update=dict.fromkeys(type(config.prune.budget).model_fields))
    asked = config.prune.model_copy(update={"budget": budget.model_copy(update={"latency": 0.5})})
    ensure(project, config.model_copy(update={"prune": asked}))
    return LatencyTable.read(project.root / LATENCY_TABLE)

"""What pruning is asked for and the shapes of the model rule out: known before anything is trained."""

import copy
from typing import TYPE_CHECKING

from secateur.config.schema import RunConfig
from secateur.errors import ModelError
from secateur.workflow.project import Project
from secateur.workflow.stage import LATENCY_TABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from secateur.budget.prices import Prices, PriceTable


def check_pruning(project: Project, shapes: "PreTrainedConfig", config: RunConfig) -> None:
    """Judge sizes, names, budgets and what follows a cut; needs no weights.

    Args:
        project: may hold measured prices.
        shapes: config of the dense model.
        config: the parameters.

    Raises:
        ModelError, ConfigError, BudgetError: the first thing that cannot be.
    """
    from secateur.budget.latency_table import check_measurable
    from secateur.pruning.repair import check_repair

    if config.prune.granularity == "structures":
        check_repair(shapes, mode=config.prune.repair)
    _check_size(shapes, config)
    if config.prune.budget.kind == "latency":
        check_measurable(shapes, config.prune.latency)
    _check_budgets(project, shapes, config)


def _check_size(shapes: "PreTrainedConfig", config: RunConfig) -> None:
    """Judge depth, hidden size and the names of preset importance."""
    from secateur.families import family_of
    from secateur.pruning.multipliers import check_multipliers

    family, prune = family_of(shapes), config.prune
    dense = family.dense_widths(shapes)
    sizes = (
        ("num_layers", prune.num_layers, dense.num_layers, "layers"),
        ("hidden_size", prune.hidden_size, family.hidden_size(shapes), "features"),
    )
    for name, asked, found, unit in sizes:
        if asked is not None and asked > found:
            raise ModelError(
                f"prune.{name}={asked} is more than baseline.model={config.baseline.model} has ({found} {unit}); "
                f"ask for {found} or less"
            )
    if prune.multipliers and prune.granularity == "structures":
        check_multipliers(prune.multipliers, dense, complete=prune.needs_multipliers)


def _check_budgets(project: Project, shapes: "PreTrainedConfig", config: RunConfig) -> None:
    """Judge every round's target, the last one first: it is the number that the user typed."""
    from secateur.budget.allocation import Limits, check_reachable, smallest
    from secateur.budget.goal import check_regrowth, goal_of, nothing_to_choose_from
    from secateur.families import family_of
    from secateur.families.structures import Widths

    prune = config.prune
    if prune.granularity == "weights":
        return  # single weights can all go
    prices, family = _prices(project, shapes, config), family_of(shapes)
    dense, hidden_size = family.dense_widths(shapes), family.hidden_size(shapes)
    kept = prune.num_layers or dense.num_layers
    current = Widths(heads=dense.heads[:kept], ffn=dense.ffn[:kept], head_dim=dense.head_dim)
    for number, (name, round_) in reversed(list(enumerate(prune.rounds.items(), start=1))):
        if round_.student is not None:
            continue  # it is made, not cut
        goal = goal_of(number, round_=round_, settings=prune)
        check_regrowth(prune, target=goal.target or 1.0, action=round_.action or prune.action, hidden_size=hidden_size)
        if goal.max_drop is not None and smallest(current, limits=Limits.of(prune)) == current:
            raise nothing_to_choose_from(goal.max_drop)
        if goal.target is None or prices is None:
            continue  # a promise takes what can be reached; what no time was measured of is judged by the table
        check_reachable(
            fraction=goal.target,
            current=current,
            dense=dense,
            prices=prices,
            limits=Limits.of(prune),
            asked=None if round_.budget is None else f"prune.rounds.{name}.budget={round_.budget:g}",
        )


def _prices(project: Project, shapes: "PreTrainedConfig", config: RunConfig) -> "Prices | PriceTable | None":
    """Return what structures cost after the cut of the hidden size; None while no time has been measured."""
    from secateur.budget.cost import structure_costs
    from secateur.budget.prices import Prices
    from secateur.families import family_of
    from secateur.models.rotation import write_kept_
    from secateur.pruning.selection import COST_LENGTH

    family, prune = family_of(shapes), config.prune
    if prune.budget.kind == "latency":
        return _measured_prices(project, shapes, config)
    narrow = copy.deepcopy(shapes)
    if prune.hidden_size is not None:
        write_kept_(narrow, prune.hidden_size, rotate=prune.recovery.hidden_weight == 0.0)
    dense = Prices.of(structure_costs(shapes, length=COST_LENGTH), prune.budget.kind)
    return Prices.of(
        structure_costs(narrow, length=COST_LENGTH),
        prune.budget.kind,
        dense=dense.total(family.dense_widths(shapes)),
    )


def _measured_prices(project: Project, shapes: "PreTrainedConfig", config: RunConfig) -> "PriceTable | None":
    from secateur.budget.latency_table import LatencyTable, shape_of
    from secateur.budget.prices import PriceTable

    file = project.root / LATENCY_TABLE
    if not file.exists():
        return None
    table = LatencyTable.read(file)
    shape = shape_of(shapes, hidden_size=config.prune.hidden_size)
    if table.mismatch(config.prune.latency, shape) is not None:
        return None  # `secateur run` measures it anew
    return PriceTable.measured(table)

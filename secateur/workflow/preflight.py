"""What is refused before any compute: an unreadable source, an unsupported model, a budget or length out of reach."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config.families import check_chosen
from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.config.schema import RunConfig
from secateur.errors import ConfigError, ModelError
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import CARD
from secateur.workflow.execution import require_space
from secateur.workflow.project import Project
from secateur.workflow.stage import LATENCY_TABLE
from secateur.workflow.tracking_server import require_answer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from secateur.budget.prices import Prices, PriceTable


def check(project: Project, config: RunConfig) -> None:
    """Look at everything that can be judged without running a stage.

    Raises:
        SecateurError: one line saying what was asked, what was found and what would work.
    """
    from secateur.data.pretrained import check_model

    require_space(project)
    require_answer()
    if config.register_.runtime != config.evaluate.deployed:
        raise ConfigError(
            f"register.runtime={config.register_.runtime} is not what was evaluated "
            f"(evaluate.deployed={config.evaluate.deployed}); set both to the same"
        )
    _check_judge(project, config)
    check_source(config.ingest, root=project.root, kind=config.run.task)
    model_config = check_model(config.baseline.model, root=project.root)
    # A scratch config may have any name; its budget is judged when the round starts.
    if model_config is not None and model_config.name == "config.json":
        _check_shapes(project, model_config, config)


def check_source(ingest: IngestSection, *, root: Path | None = None, kind: KindName = DEFAULT) -> None:
    """Read the source once, before any stage runs; a hub dataset is not looked at, to stay off the network.

    Raises:
        DataError: missing, a folder, empty, undecodable, a column missing, one label only, a label with too few rows.
    """
    from secateur.data.acquisition import check_rows
    from secateur.data.reading import reading_of

    check_rows(
        ingest.source,
        reading_of(ingest),
        test_source=ingest.test_source,
        root=root,
        min_labels=kind_named(kind).min_labels,
    )


def _check_judge(project: Project, config: RunConfig) -> None:
    """Refuse a judge that nobody will have made by the time it is needed."""
    judge = config.evaluate.judge
    if judge is None or (project.root / judge / CARD).is_file():
        return
    # Another project's model: that project may run between our baseline and our evaluation.
    if (project.root / judge).parent.name == "models" and (project.root / judge).parents[1].joinpath(
        "dvc.yaml"
    ).is_file():
        return
    raise ConfigError(f"evaluate.judge={judge}: there is no checkpoint; name a folder that secateur wrote, or null")


def _check_shapes(project: Project, model_config: Path, config: RunConfig) -> None:
    """Judge lengths and budgets from the shapes alone; this is the one check that imports transformers."""
    from secateur.data.pretrained import model_type_of
    from secateur.models.families import family_of
    from secateur.workflow.latency_table import shapes_of

    baseline, model_type = config.baseline, model_type_of(model_config)
    check_chosen(model_type, family=baseline.family, model=baseline.model)
    shapes = shapes_of(model_config.parent, config)
    limit = family_of(shapes).max_tokens(shapes)
    lengths = {
        "baseline.max_length": config.baseline.max_length,
        "evaluate.latency.length": config.evaluate.latency.length,
    }
    if config.prune.budget.kind == "latency":
        lengths["prune.latency.length"] = config.prune.latency.length
    for name, asked in lengths.items():
        if asked > limit:
            raise ModelError(
                f"{name}={asked} is more than baseline.model={config.baseline.model} can read ({limit} tokens); "
                f"ask for {limit} or less"
            )
    _check_size(shapes, config)
    _check_budgets(project, shapes, config)


def _check_size(shapes: "PreTrainedConfig", config: RunConfig) -> None:
    """Judge depth, hidden size and the names of preset importance."""
    from secateur.models.families import family_of
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
    from secateur.budget.allocation import Limits, check_reachable
    from secateur.budget.goal import goal_of
    from secateur.models.families import family_of
    from secateur.models.structures import Widths

    prune = config.prune
    if prune.granularity == "weights":
        return  # single weights can all go
    if (prices := _prices(project, shapes, config)) is None:
        return
    dense = family_of(shapes).dense_widths(shapes)
    kept = prune.num_layers or dense.num_layers
    for number, (name, round_) in reversed(list(enumerate(prune.rounds.items(), start=1))):
        goal = goal_of(number, round_=round_, settings=prune)
        if goal.target is None:
            continue  # a promise takes what can be reached
        check_reachable(
            fraction=goal.target,
            current=Widths(heads=dense.heads[:kept], ffn=dense.ffn[:kept], head_dim=dense.head_dim),
            dense=dense,
            prices=prices,
            limits=Limits.of(prune),
            asked=None if round_.budget is None else f"prune.rounds.{name}.budget={round_.budget:g}",
        )


def _prices(project: Project, shapes: "PreTrainedConfig", config: RunConfig) -> "Prices | PriceTable | None":
    """Return what structures cost after the cut of the hidden size; None while no time has been measured."""
    from secateur.budget.cost import structure_costs
    from secateur.budget.prices import Prices
    from secateur.models.families import family_of
    from secateur.pruning.selection import COST_LENGTH

    family, prune = family_of(shapes), config.prune
    if prune.budget.kind == "latency":
        return _measured_prices(project, shapes, config)
    narrow = copy.deepcopy(shapes)
    if prune.hidden_size is not None:
        family.write_hidden_size_(narrow, prune.hidden_size)
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

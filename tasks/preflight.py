"""What is refused before any compute: an unreadable source, an unsupported model, a budget or length out of reach."""

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.config import RunConfig
from secateur.config.prune import PruneSection
from secateur.errors import ModelError
from tasks.execution import require_space
from tasks.project import Project

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def check(project: Project, config: RunConfig) -> None:
    """Look at everything that can be judged without running a stage.

    Raises:
        SecateurError: one line saying what was asked, what was found and what would work.
    """
    from secateur.data.pretrained import check_model
    from tasks.ingest import check_source

    require_space(project)
    check_source(config.ingest, root=project.root)
    model_config = check_model(config.baseline.model, root=project.root)
    # A scratch config may have any name; its budget is judged when the round starts.
    if model_config is not None and model_config.name == "config.json":
        _check_shapes(model_config, config)


def _check_shapes(model_config: Path, config: RunConfig) -> None:
    """Judge lengths and budgets from the shapes alone; this is the one check that imports transformers."""
    from secateur.models.construction import read_config
    from secateur.models.families import family_of

    shapes = read_config(model_config.parent)
    limit = family_of(shapes).max_tokens(shapes)
    lengths = {
        "baseline.max_length": config.baseline.max_length,
        "evaluate.latency.length": config.evaluate.latency.length,
    }
    for name, asked in lengths.items():
        if asked > limit:
            raise ModelError(
                f"{name}={asked} is more than baseline.model={config.baseline.model} can read ({limit} tokens); "
                f"ask for {limit} or less"
            )
    _check_budgets(shapes, config.prune)


def _check_budgets(shapes: "PreTrainedConfig", prune: PruneSection) -> None:
    """Judge every round's target, the last one first: it is the number that the user typed."""
    from secateur.evaluation.cost import structure_costs
    from secateur.models.families import family_of
    from secateur.pruning.allocation import Limits, Prices, check_reachable
    from secateur.pruning.round import COST_LENGTH
    from secateur.pruning.schedule import target_of

    dense = family_of(shapes).dense_widths(shapes)
    costs = structure_costs(shapes, length=COST_LENGTH)
    for number, round_ in reversed(list(enumerate(prune.rounds.values(), start=1))):
        check_reachable(
            fraction=target_of(number, round_=round_, schedule=prune.schedule, final=prune.budget.fraction),
            current=dense,
            dense=dense,
            prices=Prices.of(costs, prune.budget.kind),
            limits=Limits.of(prune),
        )

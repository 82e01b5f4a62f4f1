"""What is refused before any compute: an unreadable source, an unsupported model, a budget out of reach."""

from pathlib import Path

from secateur.config import RunConfig
from secateur.config.prune import PruneSection
from tasks.execution import require_space
from tasks.project import Project


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
        _check_budget(model_config, config.prune)


def _check_budget(model_config: Path, prune: PruneSection) -> None:
    """Judge the last round's target from the shapes alone; this is the one check that imports transformers."""
    from secateur.evaluation.cost import structure_costs
    from secateur.models.construction import read_config
    from secateur.models.families import family_of
    from secateur.pruning.allocation import Limits, Prices, check_reachable
    from secateur.pruning.round import COST_LENGTH
    from secateur.pruning.schedule import target_of

    config = read_config(model_config.parent)
    dense = family_of(config).dense_widths(config)
    costs = structure_costs(config, length=COST_LENGTH)
    for number, round_ in enumerate(prune.rounds.values(), start=1):
        check_reachable(
            fraction=target_of(number, round_=round_, schedule=prune.schedule, final=prune.budget.fraction),
            current=dense,
            dense=dense,
            prices=Prices.of(costs, prune.budget.kind),
            limits=Limits.of(prune),
        )

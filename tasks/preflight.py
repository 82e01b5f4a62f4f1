"""What is refused before any compute: an unreadable source, an unsupported model, a budget out of reach."""

from pathlib import Path

from secateur.config import RunConfig
from tasks.execution import require_space
from tasks.project import Project


def check(project: Project, config: RunConfig) -> None:
    """Look at everything that can be judged without running a stage.

    Raises:
        SecateurError: one line saying what was asked, what was found and what would work.
    """
    from secateur.data.sources import check_model, check_source
    from secateur.pruning.allocation import check_reachable

    require_space(project)
    check_source(config.ingest, root=project.root)
    model_config: Path | None = check_model(config.baseline.model, root=project.root)
    if model_config is not None:
        check_reachable(model_config, prune=config.prune)

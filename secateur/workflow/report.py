"""The page of a project: written again, when something it shows is newer."""

import logging
from pathlib import Path

from secateur.errors import SecateurError
from secateur.workflow.project import Project, exclusive

logger = logging.getLogger(__name__)


def write_report(project: Project) -> tuple[Path, float]:
    """Write the page from what the stages, promotion and retraining left; return its path and the seconds.

    The caller holds the workspace (``exclusive``).

    Raises:
        ProjectError: a stage that the page shows has not run.
    """
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.execution import execute_effects
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import find_stage

    config = read_config(project)
    stage = find_stage(config, project.root, "report")
    identity = DvcStore(project).identity(stage.address)
    seconds = execute_effects(project, stage, config, identity)
    return Path(stage.effects["page"]), seconds


def refresh(project: Project) -> None:
    """Write the page again, where there is one, after a promotion, rollback or retraining.

    What happened stands whatever becomes of the page: a problem is logged. So is a run that holds the workspace; it
    may have read what was there before, and ``ui`` and the next ``refresh`` will see that the page is older.
    """
    try:
        if is_outdated(project):
            with exclusive(project):
                write_report(project)
    except SecateurError as error:
        logger.warning("the report was not written again: %s", error)


def is_outdated(project: Project) -> bool:
    """Tell whether a page is there, and a promotion or retraining has written something since."""
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import find_stage

    stage = find_stage(read_config(project), project.root, "report")
    page = project.root / stage.effects["page"]
    if not page.exists():
        return False
    shown = [project.root / path for path in (*stage.effect_inputs, *stage.inputs.values())]
    return any(path.is_file() and path.stat().st_mtime > page.stat().st_mtime for path in shown)

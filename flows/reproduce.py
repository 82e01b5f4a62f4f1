"""``models reproduce``: from a version in the registry back to its commit, its data and the same bits."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import resolve
from secateur.reproduction.rebuild import Reproduction, code_for, furnish, judge, run_stage, set_threads, worktree
from secateur.reproduction.recipe_reading import read_recipe
from secateur.workflow.execution import require_space
from secateur.workflow.params import read_config
from secateur.workflow.project import REBUILD_PREFIX, Project


def reproduce(
    project: Project,
    reference: str,
    *,
    num_threads: int | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Reproduction:
    """Rebuild a version without any cache, in a worktree at its commit, and compare it file by file.

    The source rows and the pretrained model come from DVC, verified; everything after them is computed by the code of
    that commit.

    Args:
        project: the repository; its working tree is not touched.
        reference: ``models:/name@alias`` or ``models:/name/3``.
        num_threads: rebuild with another number of threads, which gives other bits.
        told: is called with the address of each stage before it runs.

    Raises:
        ProjectError: the version cannot be rebuilt, or its data cannot be had.
        CheckFailed: the data or the registry holds something else than the version says, or the version is not signed
            as the environment asks.
    """
    require_space(project)
    tolerance = read_config(project).retrain.metric_tolerance
    registry = ModelRegistry(project)
    # Its files are compared at the end: whether they are in order should not be known hours later.
    resolve(project, reference, registry=registry, all_tags=True).close()
    with tempfile.TemporaryDirectory(prefix=REBUILD_PREFIX) as temporary:
        folder = Path(temporary)
        recipe = read_recipe(project, registry, reference, into=folder / "kept")
        with worktree(project, folder / "tree", recipe.commit) as tree:
            furnish(project, tree, recipe)
            code = code_for(project, tree, reference)
            if num_threads is not None:
                set_threads(tree, code, num_threads)
            seconds = {address: run_stage(tree, address, code, told) for address in recipe.stages()}
            return judge(project, registry, tree, recipe, seconds=seconds, tolerance=tolerance)

"""What is refused before any compute: an unreadable source, an unsupported model, a budget or length out of reach."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from secateur.config.families import check_chosen
from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.config.schema import RunConfig
from secateur.errors import ConfigError, ModelError, SecateurError
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import CARD
from secateur.workflow.execution import require_space
from secateur.workflow.project import Project
from secateur.workflow.rendering import require_ours
from secateur.workflow.stages import stages
from secateur.workflow.tracking_server import require_answer

_CONFIG = "config.json"


def check(project: Project, config: RunConfig) -> None:
    """Look at everything that can be judged without running a stage.

    Raises:
        SecateurError: one line saying what was asked, what was found and what would work.
    """
    from secateur.data.pretrained import check_model

    require_ours(project, config)
    require_space(project)
    require_answer()
    if config.register_.runtime != config.evaluate.deployed:
        raise ConfigError(
            f"register.runtime={config.register_.runtime} is not what was evaluated "
            f"(evaluate.deployed={config.evaluate.deployed}); set both to the same"
        )
    if config.run.device != "cpu":
        from secateur.inference.device import check_processes, find_device  # imports torch

        check_processes(find_device(config.run.device), count=config.run.processes)
    _check_processes(project, config)
    _check_judge(project, config)
    check_source(config.ingest, root=project.root, kind=config.run.task)
    model_config = check_model(config.baseline.model, root=project.root)
    if model_config is not None:
        with _folder_of(model_config) as folder:
            _check_shapes(project, folder, config)


def check_source(ingest: IngestSection, *, root: Path | None = None, kind: KindName = DEFAULT) -> None:
    """Read the source once, before any stage runs; a hub dataset is not looked at, to stay off the network.

    Raises:
        DataError: missing, a folder, empty, undecodable, a column missing, one label only, a label with too few rows.
    """
    from secateur.data.acquisition import check_rows
    from secateur.readers.reading import reading_of

    asked = kind_named(kind)
    check_rows(
        ingest.source,
        reading_of(ingest, asked),
        given=ingest.given,
        root=root,
        min_labels=asked.min_labels,
    )


def _check_processes(project: Project, config: RunConfig) -> None:
    """Refuse several processes where a project's own stages do not know of them."""
    for stage in stages(config, project.root) if config.run.processes > 1 else ():
        if stage.name in ("baseline", "prune") and not stage.trains:
            raise ConfigError(
                f"run.processes={config.run.processes}: tasks/{stage.name}.py of this project does not say that its "
                "body may run in several processes (trains=True, and what job.rank > 0 leaves to the first one); "
                "run.processes=1 would work"
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


@contextmanager
def _folder_of(model_config: Path) -> Iterator[Path]:
    """Yield a folder where a config has its usual name: that of a model from nothing may have any."""
    if model_config.name == _CONFIG:
        yield model_config.parent
        return
    with TemporaryDirectory() as temporary:
        shutil.copyfile(model_config, Path(temporary) / _CONFIG)
        try:
            yield Path(temporary)
        except SecateurError as error:
            said = str(error).replace(str(Path(temporary) / _CONFIG), str(model_config))
            raise type(error)(said.replace(temporary, str(model_config))) from error


def _check_shapes(project: Project, folder: Path, config: RunConfig) -> None:
    """Judge lengths and budgets from the shapes alone; this is the one check that imports transformers."""
    from secateur.data.pretrained import model_type_of
    from secateur.families import family_of, is_static
    from secateur.workflow.latency_table import shapes_of
    from secateur.workflow.pruning_preflight import check_pruning

    baseline, model_type = config.baseline, model_type_of(folder / _CONFIG)
    check_chosen(model_type, family=baseline.family, model=baseline.model)
    shapes = shapes_of(folder, config)
    family = family_of(shapes)
    if is_static(shapes):
        raise ModelError(f"baseline.model={baseline.model} is a static student; a baseline starts from a dense model")
    if not family.is_dense(shapes):
        raise ModelError(f"baseline.model={baseline.model} is pruned already; a baseline starts from a dense model")
    limit = family.max_tokens(shapes)
    lengths = {
        "baseline.max_length": baseline.max_length,
        "evaluate.latency.length": config.evaluate.latency.length,
        "promote.latency.length": config.promote.latency.length,
    }
    if config.prune.budget.kind == "latency":
        lengths["prune.latency.length"] = config.prune.latency.length
    for name, asked in lengths.items():
        if asked > limit:
            raise ModelError(
                f"{name}={asked} is more than baseline.model={baseline.model} can read ({limit} tokens); "
                f"ask for {limit} or less"
            )
    check_pruning(project, shapes, config)

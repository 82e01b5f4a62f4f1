"""The champion of a model, and the files that were kept with the run that made a version; asked of MLflow."""

from pathlib import Path

# Before MLflow: this module sets what MLflow reads while it is imported.
from secateur.registry.mlflow_store import MlflowException, ModelRegistry  # isort: split

import mlflow
from mlflow import MlflowClient

from secateur.errors import ModelError, ProjectError
from secateur.registry.mlflow_versions import entry_of
from secateur.registry.registered_version import RegisteredVersion

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def aliased(registry: ModelRegistry, name: str, alias: str) -> RegisteredVersion | None:
    """Return the version under an alias, its metrics left out; None without one.

    Raises:
        ModelError: the registry does not answer.
    """
    try:
        found = MlflowClient(registry.uri).get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise ModelError(f"models:/{name}@{alias}: {' '.join(str(error).split())}") from error
    return entry_of(found, aliases=found.aliases)


def download_run_files(registry: ModelRegistry, run_id: str, target: Path) -> None:
    """Copy what was kept with the parent of a version's run: dvc.lock, params.yaml, metrics.json, data.json.

    Args:
        registry: an open one.
        run_id: of the version.
        target: a new folder.

    Raises:
        ProjectError: the run or its files are gone.
    """
    target.mkdir(parents=True)
    client = MlflowClient(registry.uri)
    try:
        parent = client.get_run(run_id).data.tags.get("mlflow.parentRunId", run_id)
        for artifact in client.list_artifacts(parent):
            if not artifact.is_dir:
                mlflow.artifacts.download_artifacts(run_id=parent, artifact_path=artifact.path, dst_path=str(target))
    except (MlflowException, OSError) as error:
        raise ProjectError(
            f"the files kept with MLflow run {run_id} cannot be read: {' '.join(str(error).split())}"
        ) from error

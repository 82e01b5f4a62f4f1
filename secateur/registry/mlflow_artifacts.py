"""Where an alias points and where the files of a version lie, asked of MLflow without describing every version."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

# Before MLflow: this module sets what MLflow reads while it is imported.
from secateur.registry.mlflow_store import MlflowException, ModelRegistry  # isort: split

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from secateur.errors import ModelError
from secateur.files import sync


def version_of_alias(registry: ModelRegistry, name: str, alias: str) -> str:
    """Return the number of the version that an alias points at: one query, cheap enough to ask every second.

    Raises:
        ModelError: the model has no such alias, or the registry does not answer.
    """
    try:
        return str(MlflowClient(registry.uri).get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        raise ModelError(f"models:/{name}@{alias}: {_line(error)}") from error


def local_folder(registry: ModelRegistry, name: str, version: str) -> Path | None:
    """Return where the files of a version lie on this machine; None when the store is elsewhere.

    Raises:
        ModelError: the registry does not answer.
    """
    try:
        uri = str(MlflowClient(registry.uri).get_model_version_download_uri(name, version))
    except MlflowException as error:
        raise ModelError(f"models:/{name}/{version}: {_line(error)}") from error
    return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None


def download(name: str, version: str, target: Path) -> None:
    """Copy the files of a version into a new folder, one by one: MLflow tries all others when one has failed.

    Raises:
        ModelError: the store does not answer, or has no such files.
    """
    target.mkdir(parents=True)
    try:
        store = get_artifact_repository(str(MlflowClient().get_model_version_download_uri(name, version)))
        for file in _files(store, None):
            store.download_artifacts(file, dst_path=str(target))
    except (MlflowException, OSError) as error:
        raise ModelError(f"the files of models:/{name}/{version} cannot be downloaded: {_line(error)}") from error


def put(registry: ModelRegistry, name: str, version: str, file: str, text: str) -> None:
    """Write a file into the root of a version, the old one or the new one whole.

    Raises:
        ModelError: the store does not take it.
    """
    root = local_folder(registry, name, version)
    try:
        with TemporaryDirectory(dir=None if root is None else root.parent, prefix=".secateur-") as folder:
            written = Path(folder) / file
            written.write_text(text, encoding="utf-8")
            if root is not None:
                sync(written)
                written.rename(root / file)
            else:
                uri = MlflowClient(registry.uri).get_model_version_download_uri(name, version)
                get_artifact_repository(str(uri)).log_artifact(str(written))
    except (MlflowException, OSError) as error:
        raise ModelError(f"{file} of models:/{name}/{version} cannot be written: {_line(error)}") from error


def _files(store: ArtifactRepository, folder: str | None) -> Iterator[str]:
    for entry in store.list_artifacts(folder):
        if entry.is_dir:
            yield from _files(store, entry.path)
        else:
            yield entry.path


def _line(error: Exception) -> str:
    return " ".join(str(error).split())

"""How a version is laid out for MLflow: our folders, their packages, and the installed module that loads it.

MLflow stores a module with a function ``save_model``; that is this one.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
from mlflow.models import Model, ModelSignature

from secateur.registry.model_description import DESCRIPTION, LOADER

_FOLDER = "artifacts"

# Read where a model is stored: MLflow would copy the uv.lock and pyproject.toml of the current folder to the files of
# the version, and no reader opens a version that holds what it does not list.
os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"


def save_model(
    path: str | Path,
    mlflow_model: Model,
    *,
    folders: Mapping[str, Path],
    signature: ModelSignature,
    requirements: Sequence[str],
) -> None:
    """Write what is stored as a version.

    Args:
        path: folder to write.
        mlflow_model: what MLflow knows of it so far; it is added to.
        folders: ``checkpoint``, and ``deployed`` where there is one.
        signature: what the model takes and answers.
        requirements: packages, pinned.
    """
    root = Path(path)
    mlflow.pyfunc.save_model(
        root,
        loader_module=LOADER,
        mlflow_model=mlflow_model,
        signature=signature,
        pip_requirements=list(requirements),
    )
    for folder in folders.values():
        shutil.copytree(folder, root / _FOLDER / folder.name)
    stored = {name: {"path": f"{_FOLDER}/{folder.name}"} for name, folder in folders.items()}
    mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME]["artifacts"] = stored
    mlflow_model.model_size_bytes = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    mlflow_model.save(root / DESCRIPTION)

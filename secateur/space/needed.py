"""What registered versions need of a project: the rows and pretrained models from which they are rebuilt."""

import os
from collections.abc import Iterator

from ruamel.yaml import YAMLError

from secateur.errors import ProjectError
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_relocation import DATABASE
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.tags import sha256_of
from secateur.space.unreferenced import Needed
from secateur.workflow.project import Project
from secateur.workflow.tracking_server import URI_VARIABLE
from secateur.yaml_text import read_yaml

_LOCK = "dvc.lock"


def needed(project: Project) -> Needed:
    """Ask the registry of a project, where there is one.

    Raises:
        ModelError, ProjectError: it does not answer, or does not say what a version was made from.
    """
    if URI_VARIABLE not in os.environ and not (project.home / DATABASE).exists():
        return Needed()
    registry = ModelRegistry(project)
    versions = [version for model in registry.models() for version in model.versions]
    objects = {digest for version in versions for digest in _sources(registry, version)}
    return Needed(frozenset(objects), frozenset((version.name, version.version) for version in versions))


def _sources(registry: ModelRegistry, version: RegisteredVersion) -> Iterator[str]:
    """Yield the digests of what ``ingest`` made for a version, as the dvc.lock of its build has them."""
    if version.tags.data_md5 is not None:
        yield version.tags.data_md5
    if sha256_of(_LOCK) not in version.tags:
        return  # one that cannot be rebuilt
    text = Records(registry, version.name).stored_with_build(version.version, _LOCK)
    try:
        if text is None:
            raise KeyError(_LOCK)
        yield from (str(out["md5"]) for out in read_yaml(text)["stages"]["ingest"]["outs"])
    except (YAMLError, KeyError, TypeError) as error:
        raise ProjectError(
            f"the {_LOCK} of {version.reference} cannot be read, so nothing says which rows it was made from; nothing "
            "is removed before the registry answers, or that version is deleted"
        ) from error

"""What the registry keeps beside the files: aliases, tags, and what was stored with a run."""

import ast
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Before MLflow: this module sets what MLflow reads while it is imported.
from secateur.registry.mlflow_store import MlflowException, ModelRegistry, parse_reference, quiet  # isort: split

from mlflow import MlflowClient

from secateur.errors import ModelError, ProjectError
from secateur.readers.pairs import texts_in
from secateur.registry.manifest import digest_of, manifest_of
from secateur.registry.mlflow_versions import aliases_of, find_model, find_version, is_no_answer, require_absent
from secateur.registry.tags import CHAMPION, Aliases, VersionTags

_log = logging.getLogger(__name__)

_PARENT = "mlflow.parentRunId"
_STATEMENT = re.compile(r"\[SQL:|\(Background on this error")
"""Where the statement begins behind what a database says."""


@dataclass(frozen=True)
class RunRecord:
    """What a run of MLflow holds, as texts."""

    params: Mapping[str, str]
    tags: Mapping[str, str]


class Records:
    """Aliases and tags of one registered model."""

    def __init__(self, registry: ModelRegistry, name: str) -> None:
        """Look at a registered model.

        Raises:
            ModelError: there is none of this name; the message lists those that exist.
        """
        self.registry, self.name = registry, name
        self._client = MlflowClient(registry.uri)
        find_model(self._client, name)

    def find(self, reference: str) -> str:
        """Return the number of the version that a reference names.

        Raises:
            ModelError: this model has no such version or alias; the message lists those it has.
        """
        if parse_reference(reference)[1] == CHAMPION and self.alias(CHAMPION) is None:
            raise ModelError(f"{self.name} has no champion yet; `secateur models promote` makes one")
        return str(find_version(self._client, reference).version)

    def alias(self, alias: str) -> str | None:
        """Return the number of the version that an alias points at, or None."""
        return self.aliases().get(alias)

    def aliases(self) -> Aliases:
        """Return all aliases of the model."""
        return aliases_of(self._client.get_registered_model(self.name))

    def point(self, alias: str, version: str | None) -> None:
        """Point an alias at a version; None takes the alias away."""
        with self._writing():
            if version is None:
                self._client.delete_registered_model_alias(self.name, alias)
            else:
                self._client.set_registered_model_alias(self.name, alias, version)

    def tags(self) -> Mapping[str, str]:
        """Return the tags of the registered model."""
        return dict(self._client.get_registered_model(self.name).tags)

    def tag(self, key: str, value: str | None) -> None:
        """Set a tag of the registered model; None takes it away."""
        with self._writing():
            if value is not None:
                self._client.set_registered_model_tag(self.name, key, value)
            elif key in self.tags():
                self._client.delete_registered_model_tag(self.name, key)

    def version_tags(self, version: str) -> VersionTags:
        """Return the tags of a version."""
        return VersionTags(dict(self._client.get_model_version(self.name, version).tags))

    def tag_version(self, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        with self._writing():
            self._client.set_model_version_tag(self.name, version, key, value)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in one line that nothing can be written.

        Raises:
            ProjectError: the registry refused, as one on a read-only file system does.
        """
        try:
            yield
        except MlflowException as error:
            said = " ".join(_STATEMENT.split(str(error))[0].split())[:200]
            raise ProjectError(f"nothing about {self.name} can be written to the registry: {said}") from error

    def parameters(self, version: str) -> dict[str, Any]:
        """Return dotted name -> value of the parameters that made a version, those left to their defaults, too.

        Raises:
            ModelError: the registry does not answer.
        """
        try:
            run = self._client.get_run(self._client.get_model_version(self.name, version).run_id)
        except MlflowException as error:
            require_absent(f"models:/{self.name}/{version}", error)
            return {}
        return {name: _value(text) for name, text in run.data.params.items()}

    def run_of(self, version: str) -> "RunRecord | None":
        """Return what the run that made a version holds; None when it is gone.

        Raises:
            ModelError: the registry does not answer.
        """
        try:
            data = self._client.get_run(self._client.get_model_version(self.name, version).run_id).data
        except MlflowException as error:
            require_absent(f"models:/{self.name}/{version}", error)
            return None
        return RunRecord(dict(data.params), dict(data.tags))

    def stored_with_build(self, version: str, file: str, *, checked: bool = True) -> str | None:
        """Return the text of a file that was stored with the build of a version (``dvc.lock``), or None.

        One that is not what the manifest of the version says counts for nothing, and is told, unless ``checked`` is
        False.
        """
        text = self._stored(version, file)
        manifest = manifest_of(self.version_tags(version)) if checked and text is not None else None
        if text is None or manifest is None or manifest.kept.get(file, digest_of(text)) == digest_of(text):
            return text
        _log.warning("models:/%s/%s: the %s that was kept with its build was changed", self.name, version, file)
        return None

    def _stored(self, version: str, file: str) -> str | None:
        try:
            run = self._client.get_run(self._client.get_model_version(self.name, version).run_id)
            with TemporaryDirectory() as folder:
                path = self._client.download_artifacts(run.data.tags.get(_PARENT, run.info.run_id), file, folder)
                return Path(path).read_bytes().decode("utf-8")
        except (MlflowException, OSError, UnicodeDecodeError) as error:
            if is_no_answer(error):
                raise ModelError(
                    f"the {file} of models:/{self.name}/{version} cannot be had: {' '.join(str(error).split())}"
                ) from error
            return None


def _value(text: str) -> Any:
    """Return what MLflow keeps as the text of a Python value."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def predict_by_mlflow(
    folder: Path, texts: list[str], *, params: Mapping[str, Any], bytecode: Path
) -> list[dict[str, Any]]:
    """Load a version as MLflow's own tools do, and return ``label`` and ``score`` of every text, or what was written.

    Args:
        folder: root of the version, verified: a script of before 0.4 is run.
        texts: to classify, or to continue.
        params: of a generator; a classifier takes none and is given none.
        bytecode: empty folder where Python looks for bytecode from here on, and not beside a script.
    """
    import mlflow.pyfunc  # before that: to compile its modules anew costs 5 s of CPU
    import pandas as pd

    sys.pycache_prefix = str(bytecode)
    with quiet():
        model = mlflow.pyfunc.load_model(str(folder))
        asked = dict(params) if model.metadata.get_params_schema() is not None else None
        takes = len(model.metadata.get_input_schema().inputs)
        given = texts if takes == 1 else pd.DataFrame([[*texts_in(text), ""][:takes] for text in texts])
        rows: list[dict[str, Any]] = model.predict(given, params=asked).to_dict("records")
    return rows

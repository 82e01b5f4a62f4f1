"""Runs and registered models in MLflow; only ``secateur/registry/mlflow_*.py`` import it."""

import errno
import fcntl
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

# Set before the import, which reads them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server that has gone is asked three times more, within 14 s; MLflow's own seven times take four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
# Files come through the server, which alone needs keys of the store. A store that says nothing to MLflow's other way,
# piece by piece from the store itself, is asked for eight minutes, whatever the settings say.
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from secateur import __version__
from secateur.config.base import Runtime
from secateur.errors import ProjectError
from secateur.files import sha256_file, to_json
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.progress import progress
from secateur.registry import mlflow_flavor
from secateur.registry.manifest import digest_of, written_for
from secateur.registry.mlflow_relocation import ARTIFACTS_FOLDER, DATABASE, bring_home
from secateur.registry.mlflow_versions import (
    aliases_of,
    describe,
    describe_all,
    describe_models,
    parse_reference,
    quoted,
)
from secateur.registry.model_description import SCRIPT
from secateur.registry.model_source import AROUND, artifact_digests
from secateur.registry.registered_version import ListedModel, RegisteredVersion
from secateur.registry.tags import ARTIFACTS, KEY, MANIFEST, RUNTIME, WEIGHTS, WRAPPER, Aliases, VersionTags
from secateur.workflow.project import Project
from secateur.workflow.tracking_server import URI_VARIABLE, require_answer, without_secret

_MAX_PARAMETER_CHARS = 500
_BRIEFLY_SECONDS = 5
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Version:
    """One model to publish.

    Attributes:
        name: baseline or the round.
        checkpoint: its folder.
        runtime: what it predicts with.
        deployed: the folder that this runtime reads, stored beside the checkpoint; None for torch.
        tags: everything that is needed to rebuild it.
        metrics: name -> value.
        parameters: dotted name -> value.
        history: rows of its training curve.
        kind: of task that it is for.
        num_texts: of a row that it reads.
    """

    name: str
    checkpoint: Path
    runtime: Runtime
    deployed: Path | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    history: Sequence[Mapping[str, float]] = field(default_factory=tuple)
    kind: str = DEFAULT
    num_texts: int = 1


def tracking_uri(project: Project) -> str:
    """Return the server of the environment, or the database of this project, always absolute.

    A relative one would make a second database in every temporary experiment.

    Raises:
        ProjectError: the folder of the project has a name that no address of a database can hold.
    """
    if asked := os.environ.get(URI_VARIABLE):
        return asked
    return _database_uri(project.home / DATABASE)


def _database_uri(file: Path, *options: str) -> str:
    if not options and "?" not in str(file):
        return f"sqlite:///{file}"
    # A question mark begins the options of an address. With the driver named, MLflow makes no folder of the rest.
    return f"sqlite+pysqlite:///file:{quote(str(file))}?{'&'.join((*options, 'uri=true'))}"


class ModelRegistry:
    """The registry that belongs to a project."""

    def __init__(self, project: Project) -> None:
        """Connect, and make the schema of a new local database once.

        Raises:
            ProjectError: the server or database that the environment names cannot be used.
        """
        require_answer()
        self._project = project
        self.uri = tracking_uri(project)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # What it logs with a traceback, such as a full disk after a long judgement, it raises as well.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        asked = os.environ.get(URI_VARIABLE)
        with _one_opens(project):
            try:
                if asked is None and (database := bring_home(project.home)).parent != project.home:
                    self.uri = _database_uri(database, "mode=ro")  # a copy: what is written there would be lost
                mlflow.set_tracking_uri(self.uri)
                if asked is None:
                    # MLflow exports it, and the next registry of this process would take it for the user's own.
                    os.environ.pop(URI_VARIABLE, None)
                self._client = MlflowClient(self.uri)
                self._client.search_experiments(max_results=1)
            except (MlflowException, sqlite3.Error) as error:
                said = " ".join(str(error).split())
                raise ProjectError(f"the registry {without_secret(self.uri)} cannot be used: {said[:300]}") from error

    def find(self, model_name: str, version: Version) -> str | None:
        """Return the number under which the same key, weights and runtime were registered, if they were."""
        filter_ = f"name = '{quoted(model_name)}' and tags.`{KEY}` = '{version.tags[KEY]}'"
        for found in self._client.search_model_versions(filter_):
            tags = VersionTags(dict(found.tags))
            if tags.get(WEIGHTS) == version.tags[WEIGHTS] and tags.runtime == version.runtime:
                return str(found.version)
        return None

    def publish(
        self, versions: Sequence[Version], *, experiment: str, model_name: str, run_name: str, files: Sequence[Path]
    ) -> dict[str, str]:
        """Write one run with a child per model, register every child's model, and return name -> version.

        A model that is registered already (same key, weights and runtime) is left as it is; when all are, no run is
        written.

        Args:
            versions: the models, dense first.
            experiment: name of the experiment.
            model_name: name of the registered model.
            run_name: name of the parent run.
            files: what is kept with the parent run (dvc.lock, params.yaml, metrics).
        """
        known = {version.name: self.find(model_name, version) for version in versions}
        published = {name: version for name, version in known.items() if version is not None}
        missing = [version for version in versions if version.name not in published]
        if not missing:
            return published
        experiment_id = self._experiment(experiment)
        kept = {file.name: sha256_file(file) for file in files if file.exists()}
        with run_ended(experiment_id=experiment_id, run_name=run_name, tags=_shared_tags(missing)) as parent:
            for file in files:
                if file.exists():
                    mlflow.log_artifact(str(file))
            with progress("register", total=len(missing), note=missing[0].name) as advance:
                for version in missing:
                    made_with = (experiment_id, model_name, parent.info.run_id)
                    published[version.name] = self._publish_one(version, *made_with, kept=kept)
                    advance(version.name)
        return published

    def record_sweep(self, values: Mapping[str, Any], *, experiment: str, files: Sequence[Path]) -> None:
        """Write a sweep as one run with a child per point; nothing is registered.

        Args:
            values: content of ``reports/sweep.json``.
            experiment: name of the experiment.
            files: what is kept with the run.
        """
        experiment_id = self._experiment(experiment)
        with run_ended(experiment_id=experiment_id, run_name="sweep", tags={"secateur.kind": "sweep"}):
            mlflow.log_metrics({f"calibration_s.{name}": s for name, s in values["calibration_s"].items()})
            for file in files:
                mlflow.log_artifact(str(file))
            for point in values["points"]:
                if point["error"] is not None:
                    continue
                name = f"{point['method']} {point['asked']:g}"
                tags = {"secateur.method": point["method"], "secateur.front": str(point["front"]).lower()}
                with run_ended(experiment_id=experiment_id, run_name=name, nested=True, tags=tags) as child:
                    metrics = [
                        Metric(key, float(value), 0, 0)
                        for key, value in point.items()
                        if isinstance(value, int | float) and key not in ("front", "seconds")
                    ]
                    self._client.log_batch(child.info.run_id, metrics=metrics)

    def tag(self, model_name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version, or replace those of the same name; its manifest says so."""
        from secateur.registry.manifest_entries import add_tags
        from secateur.registry.mlflow_records import Records

        add_tags(Records(self, model_name), version, tags)

    def set_alias(self, model_name: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._client.set_registered_model_alias(model_name, alias, version)

    def aliases(self, model_name: str) -> Aliases:
        """Return the aliases of a model that is registered."""
        return aliases_of(self._client.get_registered_model(model_name))

    def models(self) -> list[ListedModel]:
        """List all registered models with their versions, newest first."""
        return describe_models(self._client)

    def versions(self, model_name: str) -> list[RegisteredVersion]:
        """List the versions of one model, newest first.

        Raises:
            ModelError: there is no such model; the message lists those that exist.
        """
        return describe_all(self._client, model_name)

    def version(self, reference: str) -> RegisteredVersion:
        """Describe ``models:/name@alias``, ``models:/name/3`` or ``name`` (its newest version).

        Raises:
            ModelError: no such model, alias or version.
        """
        return describe(self._client, reference)

    def checkpoint(self, reference: str, target: Path | None = None) -> Path:
        """Return the checkpoint folder of a registered version, downloading it when the store is remote."""
        uri = self.version(reference).reference
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target) if target else None)
        # MLflow keeps the folder under its own name (r2), which the flavour records.
        flavor = Model.load(folder).flavors["python_function"]
        return Path(folder) / str(flavor["artifacts"]["checkpoint"]["path"])

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = None if URI_VARIABLE in os.environ else (self._project.home / ARTIFACTS_FOLDER).as_uri()
        return str(self._client.create_experiment(name, artifact_location=local))

    def _publish_one(
        self, version: Version, experiment_id: str, model_name: str, parent: str, *, kept: Mapping[str, str]
    ) -> str:
        stored = artifact_digests(version.checkpoint, version.deployed)
        tags = {**version.tags, RUNTIME: version.runtime, ARTIFACTS: to_json(stored)}
        run_tags = {**tags, "mlflow.parentRunId": parent}
        with run_ended(experiment_id=experiment_id, run_name=version.name, nested=True, tags=run_tags) as child:
            parameters = [Param(k, str(v)[:_MAX_PARAMETER_CHARS]) for k, v in version.parameters.items()]
            metrics = [Metric(k, v, 0, 0) for k, v in version.metrics.items()]
            for row in version.history:
                step = int(row["step"])
                metrics += [Metric(f"training/{k}", v, 0, step) for k, v in row.items() if k != "step"]
            metrics, parameters = metrics[:1000], parameters[:100]
            self._client.log_batch(
                child.info.run_id, metrics=metrics, params=parameters, tags=[RunTag("model", version.name)]
            )
            with quiet():
                logged = Model.log(
                    artifact_path=None,
                    flavor=mlflow_flavor,
                    name="model",
                    folders=_folders(version),
                    signature=_signature(version.kind, num_texts=version.num_texts),
                    requirements=_requirements(version),
                )
        # From the logged model's own address: one made of the run id finds nothing in MLflow 3.
        with quiet():
            tags[WRAPPER] = to_json(_wrapper_digests(logged.model_id))
        tags[MANIFEST] = written_for(
            model=model_name,
            run=child.info.run_id,
            tags=tags,
            metrics=_latest(metrics),
            parameters={parameter.key: parameter.value for parameter in parameters},
            kept=kept,
        )
        self._client.set_tag(child.info.run_id, MANIFEST, digest_of(tags[MANIFEST]))
        with quiet():
            registered = mlflow.register_model(logged.model_uri, model_name, tags=tags)
        return str(registered.version)


@contextmanager
def run_ended(**asked: Any) -> Iterator[mlflow.ActiveRun]:
    """A run of MLflow. Where something goes wrong, a server that has gone is asked once, and briefly, to end it."""
    with mlflow.start_run(**asked) as run:
        try:
            yield run
        except BaseException:
            with _asked_once(), suppress(Exception):
                mlflow.end_run("FAILED")
            raise


@contextmanager
def _asked_once() -> Iterator[None]:
    names = (MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT)
    before = [(name, name.get_raw()) for name in names]
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(min(_BRIEFLY_SECONDS, MLFLOW_HTTP_REQUEST_TIMEOUT.get()))
    try:
        yield
    finally:
        for name, value in before:
            name.unset() if value is None else name.set(value)


def _latest(metrics: Sequence[Metric]) -> dict[str, float]:
    """Return what MLflow shows of metrics that were logged at several steps."""
    ordered = sorted(metrics, key=lambda metric: (metric.step, metric.timestamp, metric.value))
    return {metric.key: metric.value for metric in ordered}


def _signature(name: str, *, num_texts: int) -> ModelSignature:
    """Return what a model of a kind takes and answers."""
    kind = kind_named(name)
    asked = [ParamSpec(parameter, type_, default) for parameter, (type_, default) in kind.parameters.items()]
    return ModelSignature(
        # Without names: a list of strings has none, and the columns of a data frame may have any.
        inputs=Schema([ColSpec("string") for _ in range(num_texts)]),
        outputs=Schema([ColSpec(_type(name), column) for column, name in kind.columns.items()]),
        params=ParamSchema(asked) if asked else None,
    )


def _type(name: str) -> str | Array:
    """Return the type that a kind calls ``string``, or of a list of them ``[string]``."""
    return Array(DataType[name[1:-1]]) if name.startswith("[") else name


@contextmanager
def _one_opens(project: Project) -> Iterator[None]:
    """Let one process at a time make the schema: four that met an empty database at once all crashed.

    The kernel releases the lock. Where nothing can be written no schema can be made either, and reading needs no lock.
    """
    lock = project.home / ".secateur" / "mlflow.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        if URI_VARIABLE not in os.environ and not (project.home / "mlflow.db").is_file():
            raise ProjectError(f"{project.home} has no mlflow.db, and nothing can be written there") from error
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what MLflow prints about what it made, and its wish for hints to infer the signature that is given."""
    with redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _shared_tags(versions: Sequence[Version]) -> dict[str, str]:
    first = versions[0].tags
    return {key: value for key, value in first.items() if all(v.tags.get(key) == value for v in versions)}


def _folders(version: Version) -> dict[str, Path]:
    """Name the folders that are stored with a version; the checkpoint is there whatever predicts."""
    folders = {"checkpoint": version.checkpoint}
    return folders if version.deployed is None else folders | {"deployed": version.deployed}


def _wrapper_digests(model_id: str) -> dict[str, str]:
    """Return name -> sha256 of what MLflow reads before it opens our folders."""
    names = [name for name in AROUND if name != SCRIPT]
    location = mlflow.get_logged_model(model_id).artifact_location
    with TemporaryDirectory() as folder:
        files = [mlflow.artifacts.download_artifacts(f"{location}/{name}", dst_path=folder) for name in names]
        return {name: sha256_file(Path(file)) for name, file in zip(names, files, strict=True)}


def _requirements(registered: Version) -> list[str]:
    from importlib.metadata import version

    names = ["torch", "transformers", "safetensors"] + ([] if registered.deployed is None else ["onnxruntime"])
    pinned = [f"{name}=={version(name).partition('+')[0]}" for name in names]
    return [f"secateur=={__version__}", *pinned]


__all__ = [
    "MlflowException",
    "ModelRegistry",
    "Version",
    "parse_reference",
    "quiet",
    "quoted",
    "tracking_uri",
]

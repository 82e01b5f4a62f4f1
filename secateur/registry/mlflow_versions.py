"""What the registry says about versions, asked in a number of requests that does not grow with how many there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from secateur.errors import ModelError, NotRegistered
from secateur.registry.registered_version import ListedModel, RegisteredVersion
from secateur.registry.tags import Aliases, VersionTags

_LISTED = 20
"""Versions that a message names, at most."""

_RUNS_PER_REQUEST = 500

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")


class _Page(Protocol):
    token: str | None

    def __iter__(self) -> Iterator[Any]: ...


def parse_reference(reference: str) -> tuple[str, str | None, str | None]:
    """Return name, alias and number of ``models:/name@alias``, ``models:/name/3`` or ``name``."""
    name = reference.removeprefix("models:/")
    if "@" in name:
        name, _, alias = name.partition("@")
        return name, alias, None
    name, _, number = name.partition("/")
    return name, None, number or None


def quoted(name: str) -> str:
    """Return a name as a filter of MLflow takes it, between single quotes."""
    return name.replace("'", "''")


def find_model(client: MlflowClient, name: str) -> Any:
    """Return MLflow's registered model.

    Raises:
        ModelError: there is none of this name; the message lists those that exist.
    """
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        require_absent(name, error)
    models = _all_pages(lambda token: client.search_registered_models(page_token=token))
    known = ", ".join(model.name for model in models) or "none yet"
    raise ModelError(f"no registered model {name}; registered are: {known}")


def find_version(client: MlflowClient, reference: str) -> Any:
    """Return MLflow's version of ``models:/name@alias``, ``models:/name/3`` or ``name`` (its newest), with aliases.

    Raises:
        NotRegistered: the model has no such version or alias.
        ModelError: there is no such model, it has no version at all, or the registry does not answer.
    """
    name, alias, number = parse_reference(reference)
    try:
        if alias is not None:
            return client.get_model_version_by_alias(name, alias)
        number = number or _newest(client, name)
        if number is not None:
            return client.get_model_version(name, number)
    except MlflowException as error:
        require_absent(reference, error)
    raise _unknown(client, reference)


def describe(client: MlflowClient, reference: str) -> RegisteredVersion:
    """Describe one version.

    Raises:
        ModelError: as ``find_version``.
    """
    found = find_version(client, reference)
    return entry_of(found, aliases=found.aliases, metrics=_metrics(client, [found]))


def describe_all(client: MlflowClient, name: str) -> list[RegisteredVersion]:
    """Describe every version of a model, newest first.

    Raises:
        ModelError: there is no such model.
    """
    return _described(client, find_model(client, name))


def describe_models(client: MlflowClient) -> list[ListedModel]:
    """Describe every model; one that has no version yet is among them."""
    models = _all_pages(lambda token: client.search_registered_models(page_token=token))
    return [ListedModel(model.name, aliases_of(model), tuple(_described(client, model))) for model in models]


def aliases_of(model: Any) -> Aliases:
    """Return the aliases of MLflow's registered model."""
    return Aliases({alias: str(number) for alias, number in model.aliases.items()})


def entry_of(
    version: Any, *, aliases: Sequence[str], metrics: Mapping[str, Mapping[str, float]] | None = None
) -> RegisteredVersion:
    """Return what MLflow's version says; ``metrics`` (of each run) were asked for apart."""
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        aliases=tuple(sorted(aliases)),
        created=int(version.creation_timestamp),
        run=version.run_id,
        metrics=dict((metrics or {}).get(version.run_id or "", {})),
        tags=VersionTags(dict(version.tags)),
    )


def _described(client: MlflowClient, model: Any) -> list[RegisteredVersion]:
    found, aliases = _versions(client, model.name), aliases_of(model)
    metrics = _metrics(client, found)
    return [entry_of(version, aliases=aliases.of(str(version.version)), metrics=metrics) for version in found]


def _newest(client: MlflowClient, name: str) -> str | None:
    found = client.search_model_versions(f"name = '{quoted(name)}'", max_results=1, order_by=["version_number DESC"])
    return str(found[0].version) if found else None


def _versions(client: MlflowClient, name: str) -> list[Any]:
    found = _all_pages(lambda token: client.search_model_versions(f"name = '{quoted(name)}'", page_token=token))
    return sorted(found, key=lambda version: -int(version.version))


def _metrics(client: MlflowClient, versions: Sequence[Any]) -> dict[str, Mapping[str, float]]:
    """Return the metrics of the runs of versions; none for a run that somebody deleted."""
    runs = sorted({version.run_id for version in versions if version.run_id})
    if len(runs) == 1:
        try:
            return {runs[0]: client.get_run(runs[0]).data.metrics}
        except MlflowException as error:
            require_absent(f"run {runs[0]}", error)
            return {}
    if not runs:
        return {}
    experiments = _all_pages(lambda token: client.search_experiments(ViewType.ALL, page_token=token))
    where = [experiment.experiment_id for experiment in experiments]
    found: dict[str, Mapping[str, float]] = {}
    for start in range(0, len(runs), _RUNS_PER_REQUEST):
        asked = runs[start : start + _RUNS_PER_REQUEST]
        ids = ", ".join(f"'{run}'" for run in asked)
        for run in client.search_runs(where, f"attributes.run_id IN ({ids})", ViewType.ALL, len(asked)):
            found[run.info.run_id] = run.data.metrics
    return found


def _unknown(client: MlflowClient, reference: str) -> ModelError:
    """Return an error that says what a reference could have named."""
    name = parse_reference(reference)[0]
    found = describe_all(client, name)
    if not found:
        return ModelError(f"{reference}: model {name} has no version yet; `secateur run` registers some")
    listed = [entry.version + "".join(f"@{alias}" for alias in entry.aliases) for entry in found]
    rest = f" and {len(listed) - _LISTED} older ones" if len(listed) > _LISTED else ""
    said = f"model {name} has no such version or alias; found {', '.join(listed[:_LISTED])}{rest}"
    return NotRegistered(f"{reference}: {said}")


def require_absent(what: str, error: MlflowException) -> None:
    """Let an error pass that says there is no such thing.

    Raises:
        ModelError: it says something else.
    """
    if error.error_code not in _ABSENT:
        raise ModelError(f"{what}: the registry does not answer: {' '.join(str(error).split())}") from error


def is_no_answer(error: Exception) -> bool:
    """Tell whether an error is of the way to a server, so that it says nothing of what is there."""
    if isinstance(error, MlflowException):
        return str(error).startswith("API request to") and "failed with exception" in str(error)
    return type(error).__module__.startswith("requests.") and getattr(error, "response", None) is None


def _all_pages(ask: Callable[[str | None], Any]) -> list[Any]:
    found: list[Any] = []
    page: _Page = ask(None)
    found += page
    while page.token:
        page = ask(page.token)
        found += page
    return found

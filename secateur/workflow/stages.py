"""The stage registry: each stage once, from which come dvc.yaml, the flow's tasks and the identity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from secateur.config.prune import PruneSettings
from secateur.config.schema import RunConfig
from secateur.data.sources import PACKAGE_PREFIX, expand, is_local
from secateur.errors import ProjectError
from secateur.workflow.project import CONSTRAINTS, LATENCY_TABLE

OutputKind = Literal["out", "metric", "plot"]

_DATA_REPORT = "reports/data.json"
_LATENCY = "reports/latency.json"
_EXPORTS = ".secateur/exports"


@dataclass(frozen=True)
class Output:
    """What a stage writes and DVC stores."""

    path: str
    kind: OutputKind = "out"


@dataclass(frozen=True)
class Parameter:
    """One keyword argument of a stage body, and the entries of params.yaml that decide it.

    A body sees no parameter that is not part of its identity, because this is the only way it gets one.
    """

    argument: str
    keys: tuple[str, ...]
    value: Callable[[RunConfig], Any]


@dataclass(frozen=True)
class Stage:
    """One node of the graph.

    Attributes:
        name: one word for the stage, its params section, its file in ``tasks/`` and its report heading.
        item: the round, for stages that run once per round.
        inputs: argument name -> path of a dependency.
        outputs: argument name -> what is stored by DVC and compared.
        effects: argument name -> path of what is written but never compared (measured times, the page).
        effect_inputs: effects of earlier stages, and what promotion and retraining write, that the effect shows.
        chosen: modules that the parameters choose by name (``secateur.extensions``), whose code is the stage's own.
    """

    name: str
    inputs: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    effects: Mapping[str, str] = field(default_factory=dict)
    effect_inputs: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    item: str | None = None

    @property
    def address(self) -> str:
        """The name under which DVC and the command line know the stage."""
        return self.name if self.item is None else f"{self.name}@{self.item}"

    @property
    def module(self) -> str:
        """The module that holds the body."""
        return f"secateur.tasks.{self.name}"

    @property
    def command(self) -> str:
        """What DVC runs."""
        return f"secateur stage {self.address}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries of params.yaml that decide its result, whether the file gives them or leaves them out."""
        return tuple(key for parameter in self.parameters for key in parameter.keys)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The inputs as DVC sees them; a checkpoint that appears twice counts once."""
        return tuple(sorted(set(self.inputs.values())))


def _section(name: str, *, attribute: str | None = None) -> Parameter:
    return Parameter(name, (name,), lambda config: getattr(config, attribute or name))


def _value(argument: str, key: str) -> Parameter:
    section, _, name = key.partition(".")
    return Parameter(argument, (key,), lambda config: getattr(getattr(config, section), name))


_PRUNE_SETTINGS = Parameter(
    "prune",
    tuple(f"prune.{name}" for name in PruneSettings.model_fields),
    lambda config: PruneSettings.model_validate(
        {name: getattr(config.prune, name) for name in PruneSettings.model_fields}
    ),
)


def _round(item: str) -> Parameter:
    return Parameter("round", (f"prune.rounds.{item}",), lambda config: config.prune.rounds[item])


def _ingest(config: RunConfig, root: Path) -> Stage:
    # A package is pinned by the constraints, where there are any; a local file is a dependency itself; a hub id has its
    # revision.
    sources = expand(config.ingest.source)
    model = config.baseline.model.removeprefix("scratch:")
    inputs = {}
    from_package = any(origin.startswith(PACKAGE_PREFIX) for origin in (*sources, model))
    if from_package and (root / CONSTRAINTS).is_file():
        inputs["constraints"] = CONSTRAINTS
    if is_local(sources[0], root=root):
        inputs |= {f"source{number or ''}": source for number, source in enumerate(sources)}
    if config.ingest.test_source is not None and is_local(config.ingest.test_source, root=root):
        tests = expand(config.ingest.test_source)
        inputs |= {f"test_source{number or ''}": source for number, source in enumerate(tests)}
    if is_local(model, root=root):
        inputs["model"] = model
    return Stage(
        name="ingest",
        inputs=inputs,
        parameters=(
            _section("ingest"),
            _value("model", "baseline.model"),
            _value("model_revision", "baseline.hub_revision"),
            _value("kind", "run.task"),
        ),
        outputs={"raw": Output("data/raw"), "base": Output("models/base")},
    )


def _clean() -> Stage:
    return Stage(
        name="clean",
        inputs={"raw": "data/raw"},
        parameters=(_section("ingest"), _section("clean"), _value("seed", "run.seed"), _value("kind", "run.task")),
        outputs={
            "train": Output("data/clean/train.parquet"),
            "validation": Output("data/clean/validation.parquet"),
            "test": Output("data/clean/test.parquet"),
            "labels": Output("data/clean/labels.json"),
            "text_rules": Output("data/clean/text_rules.json"),
            "report": Output(_DATA_REPORT),
        },
    )


def _baseline() -> Stage:
    return Stage(
        name="baseline",
        inputs={
            "train": "data/clean/train.parquet",
            "validation": "data/clean/validation.parquet",
            "labels": "data/clean/labels.json",
            "text_rules": "data/clean/text_rules.json",
            "base": "models/base",
        },
        parameters=(_section("run"), _section("baseline")),
        outputs={
            "tokens": Output("data/tokens"),
            "model": Output("models/baseline"),
            "history": Output("reports/training/baseline.csv", "plot"),
        },
    )


def stages(config: RunConfig, root: Path) -> tuple[Stage, ...]:
    """Return the graph for these parameters, in an order in which it can be run.

    Args:
        config: the parameters.
        root: folder of the project; a source or model that lies there is a dependency.
    """
    rounds = tuple(config.prune.rounds)
    names = ("baseline", *rounds)
    checkpoints = {f"model.{name}": f"models/{name}" for name in names}
    histories = {f"history.{name}": f"reports/training/{name}.csv" for name in names}
    evaluated = {"metrics": "reports/metrics.json", "details": "reports/details.json"}
    return (
        _ingest(config, root),
        _clean(),
        _baseline(),
        *(_prune(item, config) for item in rounds),
        Stage(
            name="evaluate",
            inputs={
                "test": "data/clean/test.parquet",
                "labels": "data/clean/labels.json",
                **_beside(config),
                **checkpoints,
            },
            parameters=(_section("run"), _section("evaluate"), _value("max_length", "baseline.max_length")),
            outputs={
                "metrics": Output(evaluated["metrics"], "metric"),
                "details": Output(evaluated["details"]),
                "predictions": Output("reports/predictions.parquet"),
                "plot": Output("reports/quality.csv", "plot"),
            },
            effects={"latency": _LATENCY, "exports": _EXPORTS},
        ),
        Stage(
            name="register",
            inputs={**evaluated, "data": _DATA_REPORT, **checkpoints},
            parameters=(_section("register", attribute="register_"),),
            effects={"registered": "reports/registered.json"},
            effect_inputs=(_LATENCY, _EXPORTS),
        ),
        Stage(
            name="report",
            inputs={**evaluated, "data": _DATA_REPORT, **checkpoints, **histories},
            parameters=(_section("report"),),
            effects={"page": "reports/report.html"},
            effect_inputs=(
                _LATENCY,
                "reports/registered.json",
                "reports/gate.json",
                "reports/drift.json",
                "reports/retrain.json",
            ),
        ),
    )


def _beside(config: RunConfig) -> dict[str, str]:
    """Return what models are compared with: the texts they learned from, and a classifier that judges."""
    inputs = {}
    if config.evaluate.reference or config.run.task == "generation":
        inputs["train"] = "data/clean/train.parquet"
    if config.evaluate.reference and config.run.task == "classification":
        inputs["validation"] = "data/clean/validation.parquet"  # chooses the settings of the simple classifier
    if config.evaluate.judge is not None:
        inputs["judge"] = config.evaluate.judge
    return inputs


def _prune(item: str, config: RunConfig) -> Stage:
    inputs = {
        "tokens": "data/tokens",
        "dense": "models/baseline",
        "prev": f"models/{config.prune.rounds[item].prev}",
    }
    if config.prune.budget.kind == "latency":
        # Measured once by `secateur run`; no stage measures what decides its own outputs.
        inputs["latency_table"] = LATENCY_TABLE
    if config.prune.max_robust_drop is not None:
        inputs["validation"] = "data/clean/validation.parquet"
    return Stage(
        name="prune",
        item=item,
        inputs=inputs,
        parameters=(_section("run"), _PRUNE_SETTINGS, _round(item)),
        outputs={
            "model": Output(f"models/{item}"),
            "history": Output(f"reports/training/{item}.csv", "plot"),
        },
    )


def find_stage(config: RunConfig, root: Path, address: str) -> Stage:
    """Return one stage by its address.

    Raises:
        ProjectError: there is no such stage; the message lists those that exist.
    """
    graph = stages(config, root)
    for stage in graph:
        if stage.address == address:
            return stage
    known = ", ".join(stage.address for stage in graph)
    raise ProjectError(f"{address} is not a stage; stages are {known}")

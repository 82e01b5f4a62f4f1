"""What a stage file declares: one node of the graph, with the arguments of its body."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig

OutputKind = Literal["out", "metric", "plot"]

CONSTRAINTS = "constraints.txt"
"""The pinned environment; a project need not have it."""

LATENCY_TABLE = "latency_table.json"
"""Measured prices of a budget of time, from the project's root; ``secateur/workflow/latency_table.py`` writes it."""


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
    value: "Callable[[RunConfig], Any]"


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
        trains: its body may run in several processes (``run.processes``), of which the first writes.
        chosen: modules that the parameters choose by name (``secateur.extensions``), whose code is the stage's own.
    """

    name: str
    inputs: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    effects: Mapping[str, str] = field(default_factory=dict)
    effect_inputs: tuple[str, ...] = ()
    trains: bool = False
    chosen: tuple[str, ...] = ()
    item: str | None = None

    @property
    def address(self) -> str:
        """The name under which DVC and the command line know the stage."""
        return self.name if self.item is None else f"{self.name}@{self.item}"

    @property
    def module(self) -> str:
        """The module of its declaration and its body, in the full form of a project."""
        return f"tasks.{self.name}"

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


def section(name: str, *, attribute: str | None = None) -> Parameter:
    """Give the body a whole section of params.yaml, under its name; ``attribute`` is that of ``RunConfig``."""
    return Parameter(name, (name,), lambda config: getattr(config, attribute or name))


def value(argument: str, key: str) -> Parameter:
    """Give the body one entry, such as ``run.seed``."""
    of, _, name = key.partition(".")
    return Parameter(argument, (key,), lambda config: getattr(getattr(config, of), name))

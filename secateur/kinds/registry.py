"""Which kinds there are: the files beside this one, and what other packages bring by entry point."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.extensions import Registry
from secateur.kinds.base import Kind
from secateur.quality import Measure

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = "classification"
"""What a model does of which nobody said anything: the first kind, older than the choice."""

SEVERAL = "multi_label"
"""What is learned of rows with any number of labels."""

GRADE = "ordinal"
"""What is learned of rows with a grade each."""

NUMBER = "regression"
"""What is learned of rows with a number each."""

_OTHER_FILES = ("__init__", "base", "labelled", "numeric", "registry", "whole_texts")

_FILES = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _OTHER_FILES)

KINDS: Registry[Kind] = Registry(
    "kind of task",
    group="secateur.kinds",
    type_="secateur.kinds.base:Kind",
    own={name: f"secateur.kinds.{name}:KIND" for name in _FILES},
)
"""A file here is a kind; another package names one as ``package.module:OBJECT`` in its entry points."""


def kind_named(name: str) -> Kind:
    """Return a kind.

    Raises:
        ConfigError: there is none of this name, or that of another package cannot be used.
    """
    return KINDS[name]


def kind_of_config(config: "PreTrainedConfig") -> Kind | None:
    """Return the kind that a finished model is of, by its config: the first that claims it; None where none does."""
    return next((kind for kind in map(kind_named, KINDS) if kind.claims(config)), None)


def kind_of_scores(names: Iterable[str]) -> Kind | None:
    """Return the first kind whose deciding score is among these, itself or as ``deployed_``; None where none is."""
    known = {*names}
    kinds = map(kind_named, KINDS)
    return next((kind for kind in kinds if {kind.measure.name, f"deployed_{kind.measure.name}"} & known), None)


def measure_named(name: str) -> Measure:
    """Return the score of this name that decides in some kind."""
    return next(found for found in (KINDS[kind].measure for kind in KINDS) if found.name == name)

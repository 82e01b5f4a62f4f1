"""What a regulariser is: one file with one object. Ours are in ``regularizers``, those of others come by entry point.

All of them act on the weights themselves, after the optimiser, with the learning rate of that step: none adds a
gradient, so the optimiser's moments stay those of the loss, and zeros are exact (Parikh and Boyd 2014, section 4.2,
proximal gradient). Differs from the theory in the metric: AdamW scales its steps by coordinate, the proximal step does
not. AdamW moves a weight by about the learning rate, so a strength of 1 holds a weight against it.

A file is read when its regulariser is named, so what is heavy (torch, transformers) is imported inside its functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from secateur.config.base import Section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.config.prune import Regularization
    from secateur.families.structures import Masks
    from secateur.pruning.weights.matrices import WeightMasks
    from secateur.training.loop import Constraint

S = TypeVar("S", bound=Section)
_S_contra = TypeVar("_S_contra", bound=Section, contravariant=True)


class OnAll(Protocol[_S_contra]):
    """Acts on all that may be removed, and finds out by itself what is unimportant."""

    def __call__(self, model: "PreTrainedModel", *, training: "Regularization", settings: _S_contra) -> "Constraint":
        """Return what acts after every optimiser step, built on the model's own parameters; head and embeddings stay.

        Args:
            model: a model that is cut afterwards needs a new one.
            training: ``strength`` (lambda) and the peak ``learning_rate``.
            settings: the regulariser's own.
        """
        ...


class OnStructures(Protocol[_S_contra]):
    """Acts on the structures that will go."""

    def __call__(
        self, model: "PreTrainedModel", *, training: "Regularization", settings: _S_contra, chosen: "Masks"
    ) -> "Constraint":
        """As ``OnAll``; ``chosen`` are the masks of the cut to come, False = goes."""
        ...


class OnWeights(Protocol[_S_contra]):
    """Acts on the single weights that will go."""

    def __call__(
        self, model: "PreTrainedModel", *, training: "Regularization", settings: _S_contra, chosen: "WeightMasks"
    ) -> "Constraint":
        """As ``OnAll``; ``chosen`` are the masks of the cut to come, False = goes."""
        ...


@dataclass(frozen=True)
class OnChosen(Generic[_S_contra]):
    """Acts on what will go, so the choice comes before the training, and each try of a round trains anew."""

    structures: OnStructures[_S_contra]
    weights: OnWeights[_S_contra]


@dataclass(frozen=True, kw_only=True)
class Regularizer(Generic[S]):
    """One regulariser: what it is called, where it comes from, and what it does after every step.

    Attributes:
        name: in ``prune.regularizer``; its settings are ``prune.regularizers.<name>``.
        summary: one line for the reference.
        source: paper and equation, or what else it comes from.
        settings: a section of its own, every field with a default and a description.
        on_all: acts on everything alike.
        on_chosen: acts on what will go instead.
        problem: what is wrong with the settings of the training and its own, in a sentence that begins with their name
            below ``prune``; returns None where nothing is. None looks at nothing.

    Raises:
        ValueError: it acts on nothing, or in two ways.
    """

    name: str
    summary: str
    source: str
    settings: type[S]
    on_all: OnAll[S] | None = None
    on_chosen: OnChosen[S] | None = None
    problem: "Callable[[Regularization, S], str | None] | None" = None

    def __post_init__(self) -> None:
        if (self.on_all is None) == (self.on_chosen is None):
            raise ValueError(f"{self.name} needs one of on_all and on_chosen")

"""What a criterion is: one file with one object. Ours are in ``criteria``, those of others come by entry point.

A file is read when its criterion is named, so what is heavy (torch, transformers) is imported inside its functions.
Whoever writes one needs this module, ``secateur.config.base.Section`` for its settings, and the types that it returns.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from secateur.config.base import Section

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.budget.allocation import Limits
    from secateur.budget.error_curves import BlockCurves
    from secateur.budget.prices import PriceTable
    from secateur.budget.scores import Scores
    from secateur.config.prune import Granularity, Repair
    from secateur.config.run import Precision
    from secateur.families.structures import Masks
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.pruning.weights.ranking import Comparison, Removal
    from secateur.training.batches import Batch

Need = Literal["rows", "labels", "multipliers"]
"""What a criterion cannot do without: calibration rows, their labels, a preset factor for every layer."""

S = TypeVar("S", bound=Section)
_S_contra = TypeVar("_S_contra", bound=Section, contravariant=True)


class NoSettings(Section):
    """What a criterion brings that nobody can turn."""


class ScoreStructures(Protocol[_S_contra]):
    """Scores every head and neuron of a model as it is now; finite, at least 0, higher = keep.

    The scores are comparable over layers and kinds once divided by the price of a structure. Neither the
    weights nor their gradients change; the model may end in evaluation mode.
    """

    def __call__(
        self, model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: _S_contra
    ) -> "Scores":
        """Return one value per structure."""
        ...


class ScoreWeights(Protocol[_S_contra]):
    """Scores every single weight of a model as it is now; finite, at least 0, higher = keep.

    Neither the weights nor their gradients change; the model may end in evaluation mode.
    """

    def __call__(
        self, model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: _S_contra
    ) -> "WeightScores":
        """Return one value per weight of every matrix."""
        ...


@dataclass(frozen=True)
class Terms:
    """What a survey keeps to.

    Attributes:
        limits: what may be removed, and how many of it stay.
        factors: preset multipliers of all units; infinity protects.
        repair: what makes up for a cut.
        seed: of whatever is drawn.
        precision: arithmetic of all passes.
    """

    limits: "Limits"
    factors: "Scores"
    repair: "Repair"
    seed: int
    precision: "Precision"


class Survey(Protocol):
    """Knows one model; takes what stays for any budget from what it knows."""

    def select_(self, model: "PreTrainedModel", *, prices: "PriceTable", budget: float) -> "Masks":
        """Choose what stays and change the weights of what stays; the model stays full-width, ready for ``cut_``.

        Args:
            model: the calibrated model or a copy of it, changed in place.
            prices: in the unit of the budget.
            budget: absolute.

        Raises:
            BudgetError: the budget is out of reach; the model is as it was.
        """
        ...

    @property
    def curves(self) -> "BlockCurves":
        """Orders and errors of every block."""
        ...


class SurveyCurves(Protocol[_S_contra]):
    """Finds the error of every width of every block, where what a unit costs depends on what has gone before it."""

    def __call__(
        self, model: "PreTrainedModel", batches: Callable[[], Iterable["Batch"]], *, terms: Terms, settings: _S_contra
    ) -> Survey:
        """Calibrate once, for as many budgets as there are; the weights of the model are left as they are.

        Args:
            model: any.
            batches: calibration rows with labels, the same at every call.
            terms: what to keep to.
            settings: the criterion's own.
        """
        ...


class SolveMatrix(Protocol):
    """Removes weights of one matrix and adjusts those that stay."""

    def __call__(self, weight: "Tensor", removal: "Removal", *, name: str) -> tuple["Tensor", "Tensor"]:
        """Return the new weight and what was chosen, (out, in) bool; the weight is left as it is."""
        ...


class LookAtInputs(Protocol):
    """Looks at the inputs of some matrices of a model as it is now."""

    def __call__(
        self, model: "PreTrainedModel", batches: Iterable["Batch"], *, names: tuple[str, ...], precision: "Precision"
    ) -> SolveMatrix:
        """Return what solves any of these matrices."""
        ...


@dataclass(frozen=True)
class OfWeights(Generic[_S_contra]):
    """How single weights are scored.

    Attributes:
        score: higher = keep.
        within: what the scores are compared within, for these settings.
        solver: what removes weights instead of zeroing them, and adjusts those that stay, layer after layer on what
            the layers before now put out; None zeroes them by their scores.
    """

    score: ScoreWeights[_S_contra]
    within: "Callable[[_S_contra], Comparison]"
    solver: LookAtInputs | None = None


@dataclass(frozen=True, kw_only=True)
class Criterion(Generic[S]):
    """One criterion: what it is called, what it needs, and what it computes.

    Attributes:
        name: in ``prune.criterion``; its settings are ``prune.criteria.<name>``.
        summary: one line for help and reference.
        source: paper and equation, or what else it comes from.
        settings: a section of its own, every field with a default and a description.
        needs: what it cannot do without.
        regularizer: of the training before the cut that it brings along.
        is_blind: it looks at no model and no row: a baseline.
        by_loss: it follows the gradient of the loss, which a model that is compared with itself does not have.
        at_rest: whether, with these settings, it takes a model whose linears stay in 16 bits (``inference.at_rest``); a
            large one is given to any other criterion in fp32, which is twice the memory.
        structures: scores of single structures.
        curves: errors of every width instead of ``structures``.
        weights: scores of single weights.

    Raises:
        ValueError: it computes nothing, or structures in two ways.
    """

    name: str
    summary: str
    source: str
    settings: type[S]
    needs: tuple[Need, ...] = ()
    regularizer: str = "none"
    is_blind: bool = False
    by_loss: bool = False
    at_rest: Callable[[S], bool] = lambda _: False
    structures: ScoreStructures[S] | None = None
    curves: SurveyCurves[S] | None = None
    weights: OfWeights[S] | None = None

    def __post_init__(self) -> None:
        if self.structures is not None and self.curves is not None:
            raise ValueError(f"{self.name} has both structures and curves; one of them scores what is cut")
        if not self.scores:
            raise ValueError(f"{self.name} scores nothing; structures, curves or weights is missing")

    @property
    def scores(self) -> tuple["Granularity", ...]:
        """What it can score."""
        of_structures = self.structures is not None or self.curves is not None
        return (*(("structures",) if of_structures else ()), *(("weights",) if self.weights is not None else ()))

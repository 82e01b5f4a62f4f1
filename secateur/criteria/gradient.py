"""``gradient``: a structure or a weight is as important as the loss would change without it, to first order."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from secateur.config.base import Section
from secateur.pruning.criterion import Criterion, OfWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.training.batches import Batch


def _not_movement(value: Any) -> Any:
    if value == "movement":
        raise ValueError(
            "movement is gone, since a random choice is better (MiniLM-L6 at 0.7 of dense MACs: validation macro-F1 "
            "0.589, movement 0.440); taylor or snip would work"
        )
    return value


class GradientSettings(Section):
    """Which first-order score."""

    score: Annotated[
        Literal["taylor", "snip"],
        BeforeValidator(_not_movement),
        Field(
            description="taylor: of the masks of structures, row by row; snip: of single weights, added up",
            json_schema_extra={"formerly": "gradient_score"},
        ),
    ] = "taylor"


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: GradientSettings
) -> "Scores":
    """Return a first-order score of every head and neuron: see ``secateur.pruning.first_order``."""
    from secateur.pruning.first_order import scores

    return scores(model, batches, precision=precision, which=settings.score)


def score_weights(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: GradientSettings
) -> "WeightScores":
    """Return a first-order score of every weight: see ``secateur.pruning.weights.gradient``."""
    from secateur.pruning.weights.gradient import scores

    return scores(model, batches, precision=precision, which=settings.score)


GRADIENT = Criterion(
    name="gradient",
    summary="what the loss would hardly miss goes first, to first order",
    source="taylor: Molchanov et al. 2017, equation 7; snip: Lee et al. 2019, equations 4 and 5",
    settings=GradientSettings,
    needs=("rows", "labels"),
    by_loss=True,
    structures=score,
    at_rest=lambda settings: settings.score == "taylor",  # snip follows the weights themselves
    # Nats everywhere, so comparable as they are. Measured on MiniLM-L6 at 50 %, no training, validation macro-F1
    # (dense 0.789): snip 0.778 over the model, 0.724 within the matrix; taylor 0.681 over the model, 0.633 relative
    # to the mean, 0.619 within the matrix.
    weights=OfWeights(score=score_weights, within=lambda _: "model"),
)

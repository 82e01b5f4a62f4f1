"""What the criteria by size share: their setting, and how it reads single weights."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from secateur.config.base import Section
from secateur.pruning.criterion import OfWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.config.run import Precision
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.training.batches import Batch

Norm = Literal["l1", "l2", "lamp"]


class SizeSettings(Section):
    """What measures size."""

    norm: Annotated[
        Norm,
        Field(
            description="what measures the size of a group; of single weights lamp, or the absolute value",
            json_schema_extra={"formerly": "norm"},
        ),
    ] = "l2"


class WeightSizeSettings(SizeSettings):
    """What measures the size of single weights, where that of structures follows a regulariser."""

    norm: Annotated[
        Norm,
        Field(
            description="single weights: lamp, or the absolute value; structures follow the regulariser",
            json_schema_extra={"formerly": "norm"},
        ),
    ] = "l2"


def _score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: SizeSettings
) -> "WeightScores":
    from secateur.pruning.weights.magnitude import sizes

    return sizes(model, norm=settings.norm)


WEIGHTS_BY_SIZE: OfWeights[SizeSettings] = OfWeights(
    # LAMP is a share of its matrix already. Measured on MiniLM-L6 at 50 %, no training, validation macro-F1 (dense
    # 0.789): the absolute value 0.757 within the matrix, 0.738 over the model, 0.755 over the model relative to the
    # matrix's mean; LAMP 0.727.
    score=_score,
    within=lambda settings: "model" if settings.norm == "lamp" else "matrix",
)

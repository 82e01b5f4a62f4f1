"""``obs``: the exact error of every width of every block, and the weights that make up for what went."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from secateur.config.base import Section
from secateur.pruning.criterion import Criterion, Survey, Terms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.training.batches import Batch


class ObsSettings(Section):
    """How widths are looked for."""

    search_trials: Annotated[
        int,
        Field(
            ge=0,
            description="stitched models that are tried on the calibration rows around the knapsack's widths; 0 = none",
            json_schema_extra={"formerly": "search_trials"},
        ),
    ] = 0


def survey(
    model: "PreTrainedModel", batches: Callable[[], Iterable["Batch"]], *, terms: Terms, settings: ObsSettings
) -> Survey:
    """Build the database of every width of every block: see ``secateur.second_order``."""
    from secateur.pruning.stitching import stitching

    return stitching(model, batches, terms=terms, trials=settings.search_trials)


OBS = Criterion(
    name="obs",
    summary="least error of every width; what stays makes up for the rest",
    source="Hassibi and Stork 1993; for structures Kurtic et al. 2023 (ZipLM), equations 2 to 4",
    settings=ObsSettings,
    needs=("rows", "labels"),
    curves=survey,
    at_rest=lambda _: True,
)

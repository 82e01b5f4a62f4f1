"""``magnitude``: a structure or a weight is as important as it is large."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion
from secateur.pruning.sizes import WEIGHTS_BY_SIZE, SizeSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: SizeSettings
) -> "Scores":
    """Return the size of every coupled structure: its L1 or L2 norm relative to its layer, or its LAMP score.

    The group of a head is its rows of query, key and value with their biases and its columns of the output
    projection; that of a neuron its row of the up projection(s) with bias and its column of the down
    projection: everything that leaves with it.
    """
    from secateur.pruning.group_norms import score_by

    return score_by(model, settings.norm)


MAGNITUDE = Criterion(
    name="magnitude",
    summary="what is small goes first, with all that leaves with it",
    source="Fang et al. 2023 (DepGraph), section 3; lamp: Lee et al. 2021, equations 3 and 4",
    settings=SizeSettings,
    structures=score,
    weights=WEIGHTS_BY_SIZE,
    at_rest=lambda _: True,
)

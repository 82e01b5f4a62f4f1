"""How structures are scored. One criterion is one file; the files do not know each other."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from transformers import PreTrainedModel

from secateur.config.prune import Criterion
from secateur.config.run import Precision
from secateur.pruning.criteria import gradient, magnitude
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


class ScoreStructures(Protocol):
    """Scores every head and neuron of a model as it is now; higher = keep.

    The scores are comparable over layers and kinds once divided by the price of a structure. Neither the
    weights nor their gradients change; the model may end in evaluation mode.
    """

    def __call__(self, model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> Scores:
        """Return one value per structure."""
        ...


CRITERIA: Mapping[Criterion, ScoreStructures] = {"magnitude": magnitude.score, "gradient": gradient.score}
"""Every criterion by the name it has in params.yaml."""

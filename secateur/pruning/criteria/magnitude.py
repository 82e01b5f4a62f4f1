"""``magnitude``: a structure is as important as its weights are large."""

from collections.abc import Iterable

from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.group_norms import score_by
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings) -> Scores:
    """Return the size of every coupled structure: its L1 or L2 norm relative to its layer, or its LAMP score.

    The group of a head is its rows of query, key and value with their biases and its columns of the output
    projection; that of a neuron its row of the up projection(s) with bias and its column of the down
    projection: everything that leaves with it (Fang et al. 2023, DepGraph, section 3).

    Args:
        model: its weights are all that is looked at.
        batches: not read; the criterion needs no data.
        precision: not used.
        settings: ``norm`` chooses.
    """
    return score_by(model, settings.norm)

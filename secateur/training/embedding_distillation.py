"""Distillation of an embedding model: vectors of the dense one, and what they are near to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.training.batches import Batch
from secateur.training.objectives import Outputs, loss_of

_TEMPERATURE = 0.05
"""Of the cosines: what is 0.1 nearer is seven times as likely a neighbour."""

_LARGEST_BANK = 16_384
"""Rows that neighbours are looked for among."""


@dataclass(frozen=True)
class EmbeddingDistillation:
    """``(1 - weight) * distance(student, dense) + weight * KL(neighbours of dense || neighbours of the student)``.

    The distance is that of the kind, half of the squared one of unit vectors. Neighbours of a text are a softmax of its
    cosines to what the dense model says of other training rows (Fang et al. 2021, SEED, equation 4).

    Differs from SEED in: the rows are those of the training set in place of a queue, and one temperature for both.

    Attributes:
        bank: unit vectors of the dense model, of training rows, (N, E).
        weight: share of the second term, in [0, 1].
    """

    bank: Tensor
    weight: float

    needs_hidden_states = False

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the rows."""
        distance = loss_of(outputs, batch)
        if self.weight == 0.0:
            return distance
        wanted = batch.labels.to(outputs.logits.dtype)
        step = -(-len(self.bank) // _LARGEST_BANK)
        bank = self.bank[::step].to(wanted)
        found = (outputs.logits @ bank.T / _TEMPERATURE).log_softmax(dim=1)
        expected = (wanted @ bank.T / _TEMPERATURE).log_softmax(dim=1)
        apart = torch.nn.functional.kl_div(found, expected, log_target=True, reduction="batchmean")
        return (1.0 - self.weight) * distance + self.weight * apart

"""``gradient``: a structure is as important as the loss would change without it, to first order."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.models.families import family_of
from secateur.models.structures import Layer
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch
from secateur.training.objectives import forward


def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> Scores:
    """Return the first-order Taylor score of every head and neuron.

    A mask m = 1 on the output o of a structure has the derivative dL/dm = sum(o * dL/do), so removing the
    structure changes the loss by -dL/dm to first order (Molchanov et al. 2017, equation 7; Michel et al. 2019,
    equation 2, for heads). The score is the mean over the rows of |dL/dm| of the row's own loss.

    Differs from TextPruner, which takes the absolute value of the sum over a batch: there the rows of a batch
    cancel each other, and the score depends on the batch size.

    Args:
        model: scored in evaluation mode; its gradients are left as they were.
        batches: calibration rows with labels.
        precision: arithmetic of the matrix products.
    """
    layers = family_of(model).layers(model)
    model.eval()
    totals: list[Tensor] = [torch.zeros(()) for _ in range(2 * len(layers))]
    num_rows = 0
    with _frozen(model), _structure_outputs(layers) as outputs:
        for batch in batches:
            batch = batch.to(model.device)
            logits = forward(model, batch, precision=precision)
            # The sum over rows, so that each row's gradient is that of its own loss.
            loss = cross_entropy(logits, batch.labels, reduction="sum")
            gradients = torch.autograd.grad(loss, outputs)
            for place, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
                totals[place] = totals[place].to(loss.device) + _mask_gradients(output, gradient).abs().sum(dim=0)
            num_rows += len(batch.labels)
    means = [(total / num_rows).float().cpu() for total in totals]
    return Scores(
        heads=tuple(
            per_feature.view(-1, layer.attention.head_dim).sum(dim=1)
            for per_feature, layer in zip(means[: len(layers)], layers, strict=True)
        ),
        ffn=tuple(means[len(layers) :]),
    )

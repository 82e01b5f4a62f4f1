"""``fluctuation``: what hardly varies can be replaced by its mean."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.second_order.blocks import Block
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "Scores":
    """Return how much of a block's output is lost when a structure is replaced by its mean.

    For input j of a projection W that is ``Var(x_j) * ||W_:j||^2``; a head adds up its features. The mean itself is
    kept by a bias: repair mode ``bias``. Scores of a block are divided by their mean and shared out over the weights of
    a structure, so that blocks compare.

    Differs from the paper in: no squared score for attention and no standardisation, which makes half of the scores
    negative; variances are sums over the real tokens of all rows, not a running mean over batches. (The authors'
    code updates the mean in place before it takes the difference to the old one, so that its variance is wrong.)
    Padding is left out; sums are float64.
    """
    import torch

    from secateur.budget.scores import Scores
    from secateur.inference.device import for_sums, wide
    from secateur.second_order.blocks import blocks_of
    from secateur.training.mask_gradients import inputs_of
    from secateur.training.objectives import forward

    blocks = blocks_of(model)
    there = [block for block in blocks if block.num_units > 0]
    device = for_sums(model.device)
    sums = {
        id(block): torch.zeros(2, block.projection.in_features, dtype=torch.float64, device=device) for block in there
    }
    num_tokens = 0
    model.eval()
    with torch.no_grad(), inputs_of([block.projection for block in there]) as inputs:
        for batch in (host_batch.to(model.device) for host_batch in batches):
            forward(model, batch, precision=precision)
            tokens = batch.attention_mask.bool()
            num_tokens += int(tokens.sum())
            for block, given in zip(there, inputs, strict=True):
                values = wide(given[tokens])
                sums[id(block)] += torch.stack([values.sum(dim=0), values.square().sum(dim=0)])
            inputs.clear()
        scores = [_score(block, sums[id(block)], num_tokens) if block.num_units else torch.zeros(0) for block in blocks]
    return Scores(heads=tuple(scores[: len(blocks) // 2]), ffn=tuple(scores[len(blocks) // 2 :]))


def _score(block: "Block", sums: "Tensor", num_tokens: int) -> "Tensor":
    import torch

    mean, squares = sums.cpu() / max(num_tokens, 1)
    variance = (squares - mean.square()).clamp_min(0.0)
    lost = fluctuation(variance, block.projection.weight.detach().cpu())
    of_units = lost.view(block.num_units, block.unit_size).sum(dim=1).float()
    return of_units / of_units.mean().clamp_min(torch.finfo(torch.float32).tiny) * block.unit_size


def fluctuation(variance: "Tensor", weight: "Tensor") -> "Tensor":
    """Return ``Var(x_j) * ||W_:j||^2`` for every input, (inputs,)."""
    return variance * weight.double().square().sum(dim=0)


FLUCTUATION = Criterion(
    name="fluctuation",
    summary="what hardly varies goes first: its mean can stand for it",
    source="An et al. 2024 (FLAP), equation 5",
    settings=NoSettings,
    needs=("rows",),
    structures=score,
)

"""One streaming pass over the calibration rows: what every block needs to know about its inputs and outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.inference.device import for_sums, wide
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.second_order.blocks import Block, blocks_of
from secateur.second_order.taps import tapped
from secateur.training.batches import Batch
from secateur.training.mask_gradients import graph_from_embeddings
from secateur.training.objectives import forward

Weighting = Literal["tokens", "fisher"]
"""Every token counts the same, or by how much the logits depend on the block's output there."""


@dataclass(frozen=True)
class Moments:
    """Second moments of one block over the real tokens.

    Attributes:
        inputs: (N, N) float64, mean over the (weighted) tokens, of the projection's inputs and a constant 1; the
            constant stands alone where the projection has no bias.
        outputs: (E, E) float64 metric in which an error of the block's output counts.
    """

    inputs: Tensor
    outputs: Tensor


def moments(
    model: PreTrainedModel, batches: Iterable[Batch], *, seed: int, precision: Precision, weighting: Weighting
) -> tuple[Moments, ...]:
    """Accumulate the moments of all blocks in one pass; memory does not depend on the number of rows.

    With ``fisher``, token ``t`` counts by the squared norm of ``g_t``, the gradient at the block's output, and
    errors are measured in the second moment of these gradients: the Kronecker-factored Gauss-Newton form of the
    divergence between the logits before and after (van der Ouderaa et al. 2024, The LLM Surgeon, section 3); that of a
    generator is summed over the real tokens of a row.
    Errors are then about nats per row, comparable over blocks as they are, and tokens that the classifier never
    looks at count for nothing. With ``tokens``, errors are squared distances over the mean squared output of the
    block, as in ZipLM.

    Differs from the LLM Surgeon in: gradients along a random direction whose covariance is that of the softmax
    instead of the gradients of the labels' loss, which vanish where the model is right; tokens weigh the inputs.

    Args:
        model: put into evaluation mode; weights and their gradients are left as they were.
        batches: calibration rows; padding is left out.
        seed: of the random directions of ``fisher``.
        precision: arithmetic of the forward and backward pass.
        weighting: what counts.
    """
    blocks = blocks_of(model)
    there = [block for block in blocks if block.num_units > 0]
    model.eval()
    device = for_sums(model.device)
    sums = {id(block): _Sums.empty(block, device=device) for block in there}
    num_rows = 0
    generator = torch.Generator().manual_seed(seed)
    for batch in (host_batch.to(model.device) for host_batch in batches):
        tokens = batch.attention_mask.bool()
        num_rows += len(batch.index)
        if weighting == "tokens":
            for block, inputs, outputs in zip(there, *_activations(model, there, batch, precision), strict=True):
                sums[id(block)].add_(inputs[tokens], outputs[tokens], None)
        else:
            inputs_, gradients = _gradients(model, there, batch, precision=precision, generator=generator)
            for block, inputs, gradient in zip(there, inputs_, gradients, strict=True):
                sums[id(block)].add_(inputs[tokens], None, gradient[tokens])
    # One block after the other, so that sums and moments of all of them are never there together.
    return tuple(sums.pop(id(block), _Sums.empty(block, device=device)).finished_(num_rows) for block in blocks)


def token_weights(model: PreTrainedModel, batch: Batch, *, precision: Precision, generator: torch.Generator) -> Tensor:
    """Return the squared norm of the gradient at every block's output, (blocks, tokens) over the real tokens."""
    blocks = blocks_of(model)
    there = [place for place, block in enumerate(blocks) if block.num_units > 0]
    tokens = batch.attention_mask.bool()
    _, gradients = _gradients(
        model, [blocks[place] for place in there], batch, precision=precision, generator=generator
    )
    weights = torch.ones(len(blocks), int(tokens.sum()))
    for place, gradient in zip(there, gradients, strict=True):
        weights[place] = gradient[tokens].float().square().sum(dim=1).cpu()
    return weights


def direction(logits: Tensor, generator: torch.Generator, *, kind: str = DEFAULT) -> Tensor:
    """Draw a direction in logit space whose covariance is ``diag(p) - p p^T``, (B, C) or (B, T, V), for every row.

    (Of a generator: for every token. Of several labels per row: ``diag(p (1 - p))``.)

    That is the Hessian of the divergence from the model's own probabilities p, and the covariance of the gradient
    of the loss when labels are drawn from p; signs instead of labels have the same covariance and no outliers.
    """
    signs = torch.randint(0, 2, logits.shape, generator=generator).to(logits) * 2.0 - 1.0
    return kind_named(kind).direction(logits.detach(), signs)


def real_positions(values: Tensor, batch: Batch) -> Tensor:
    """Return values of rows (B, C) as they are, of tokens (B, T, V) with zeros on padding."""
    return values if values.dim() == 2 else values * batch.attention_mask[..., None]


def _activations(
    model: PreTrainedModel, blocks: Sequence[Block], batch: Batch, precision: Precision
) -> tuple[list[Tensor], list[Tensor]]:
    with torch.no_grad(), tapped([block.projection for block in blocks]) as taps:
        forward(model, batch, precision=precision)
        return [tap.inputs for tap in taps], [tap.outputs for tap in taps]


def _gradients(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    batch: Batch,
    *,
    precision: Precision,
    generator: torch.Generator,
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Return the inputs of the projections and the gradients at their outputs."""
    with graph_from_embeddings(model), tapped([block.projection for block in blocks]) as taps:
        logits = forward(model, batch, precision=precision)
        loss = (logits * real_positions(direction(logits, generator, kind=batch.kind), batch)).sum()
        gradients = torch.autograd.grad(loss, [tap.outputs for tap in taps])
        return [tap.inputs.detach() for tap in taps], gradients


@dataclass
class _Sums:
    has_bias: bool
    inputs: Tensor
    outputs: Tensor
    energy: Tensor
    weight: Tensor

    @classmethod
    def empty(cls, block: Block, *, device: torch.device) -> "_Sums":
        num_inputs, num_outputs = block.projection.in_features + 1, block.projection.out_features
        return cls(
            has_bias=block.projection.bias is not None,
            inputs=torch.zeros(num_inputs, num_inputs, dtype=torch.float64, device=device),
            outputs=torch.zeros(num_outputs, num_outputs, dtype=torch.float64, device=device),
            energy=torch.zeros((), dtype=torch.float64, device=device),
            weight=torch.zeros((), dtype=torch.float64, device=device),
        )

    def add_(self, inputs: Tensor, outputs: Tensor | None, gradients: Tensor | None) -> None:
        extended = torch.cat([inputs.float(), inputs.new_ones(len(inputs), 1, dtype=torch.float32)], dim=1)
        if gradients is not None:
            gradients = gradients.float()
            squares = gradients.square().sum(dim=1)
            self.weight += wide(squares).sum()
            self.outputs += (gradients.T @ gradients).to(self.outputs.device)
            extended = extended * squares.sqrt()[:, None]
        else:
            assert outputs is not None
            self.weight += len(inputs)
            self.energy += wide(outputs.float().square()).sum()
        self.inputs += (extended.T @ extended).to(self.inputs.device)

    def finished_(self, num_rows: int) -> Moments:
        """Return the moments, in the memory of the sums where these are on the CPU."""
        tiny = torch.finfo(torch.float64).tiny
        weight, energy = float(self.weight), float(self.energy)
        inputs = self.inputs.cpu().div_(max(weight, tiny))  # copied once, from wherever they were summed up
        if not self.has_bias:
            # A constant that goes with nothing: no solution gives it a weight.
            inputs[-1], inputs[:, -1] = 0.0, 0.0
            inputs[-1, -1] = 1.0
        if energy > 0.0:
            share = weight / energy
            return Moments(inputs=inputs, outputs=torch.eye(len(self.outputs), dtype=torch.float64) * share)
        return Moments(inputs=inputs, outputs=self.outputs.cpu().div_(max(num_rows, 1)))

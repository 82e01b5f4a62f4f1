"""What every block needs to know about its inputs and outputs: one pass over the calibration rows.

Of a large model it goes layer by layer, and what is known of a block is done with before the next.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.inference.device import for_sums, wide
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.second_order.blocks import Block, blocks_of
from secateur.second_order.layerwise import Loss, blocks_there, gradients_by_layer, is_large, moment_bytes
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
        weights: how much each token counts by itself, (tokens,) of every batch; none where all count the same.
    """

    inputs: Tensor
    outputs: Tensor
    weights: tuple[Tensor, ...] = ()


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
    return tuple(moment for _, moment in _of_whole_passes(model, batches, seed, precision, weighting))


def moments_in_turn(
    model: PreTrainedModel, batches: Iterable[Batch], *, seed: int, precision: Precision, weighting: Weighting
) -> Iterator[tuple[int, Moments]]:
    """Yield the same moments with the places of their blocks; of a large model one layer's at a time, the last first.

    What is yielded should be let go of before the next is asked for.
    """
    if weighting == "fisher" and is_large(model):
        return _layer_by_layer(model, list(batches), seed, precision)
    return _of_whole_passes(model, batches, seed, precision, weighting)


def _of_whole_passes(
    model: PreTrainedModel, batches: Iterable[Batch], seed: int, precision: Precision, weighting: Weighting
) -> Iterator[tuple[int, Moments]]:
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
    for place, block in enumerate(blocks):
        yield place, (sums.pop(id(block), None) or _Sums.empty(block, device=device)).finished_(num_rows)


def _layer_by_layer(
    model: PreTrainedModel, batches: Sequence[Batch], seed: int, precision: Precision
) -> Iterator[tuple[int, Moments]]:
    model.eval()
    blocks, device = blocks_of(model), for_sums(model.device)
    num_rows = sum(len(batch.index) for batch in batches)
    loss = _random_direction(seed, precision)
    in_turn = gradients_by_layer(
        model, batches, loss=loss, at="outputs", precision=precision, title="", beside=moment_bytes(model)
    )
    for layer, passes in in_turn:
        sums = {place: _Sums.empty(block, device=device) for place, block in blocks_there(model, layer)}
        for seen in passes:
            tokens = seen.batch.attention_mask.bool()
            for one, inputs, gradient in zip(sums.values(), seen.inputs, seen.gradients, strict=True):
                one.add_(inputs[tokens], None, gradient[tokens])
        for place in (layer, layer + len(blocks) // 2):
            yield place, (sums.pop(place, None) or _Sums.empty(blocks[place], device=device)).finished_(num_rows)


def _random_direction(seed: int, precision: Precision) -> Loss:
    """Return what has the gradients of ``moments``; it draws for one batch after the other."""
    generator = torch.Generator().manual_seed(seed)

    def along(model: PreTrainedModel, batch: Batch) -> Tensor:
        logits = forward(model, batch, precision=precision)
        return (logits * real_positions(direction(logits, generator, kind=batch.kind), batch)).sum()

    return along


def all_token_weights(
    model: PreTrainedModel, batches: Iterable[Batch], *, seed: int, precision: Precision
) -> Iterator[Tensor]:
    """Yield the weights of every batch, see ``token_weights``; those of a large model are found layer by layer."""
    generator = torch.Generator().manual_seed(seed)
    if not is_large(model):
        for batch in batches:
            yield token_weights(model, batch.to(model.device), precision=precision, generator=generator)
        return
    held = list(batches)
    found = [torch.ones(len(blocks_of(model)), int(batch.attention_mask.sum())) for batch in held]
    loss = _random_direction(seed, precision)
    for layer, passes in gradients_by_layer(model, held, loss=loss, at="outputs", precision=precision):
        places = [place for place, _ in blocks_there(model, layer)]
        for weights, seen in zip(found, passes, strict=True):
            for place, gradient in zip(places, seen.gradients, strict=True):
                weights[place] = _squares(gradient[seen.batch.attention_mask.bool()]).cpu()
    yield from found


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
        weights[place] = _squares(gradient[tokens]).cpu()
    return weights


def weights_of_batches(of_blocks: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Return what ``token_weights`` gives for every batch, (blocks, tokens), of the weights that moments came with.

    A block that has none has lost its units; no token counts more than another there.
    """
    told = next((weights for weights in of_blocks if weights), ())
    return tuple(
        torch.stack([weights[batch] if weights else torch.ones(len(one)) for weights in of_blocks])
        for batch, one in enumerate(told)
    )


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
    of_tokens: list[Tensor] = field(default_factory=list)

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
            squares = _squares(gradients)
            self.of_tokens.append(squares.cpu())
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
        outputs = self.outputs.cpu().div_(max(num_rows, 1))
        return Moments(inputs=inputs, outputs=outputs, weights=tuple(self.of_tokens))


def _squares(gradients: Tensor) -> Tensor:
    """Return how much tokens count, (tokens,), by the gradients at their outputs."""
    return gradients.float().square().sum(dim=1)

"""Fisher information of masks on structures, and the order of removal that accounts for their interactions."""

from collections.abc import Iterable, Iterator
from operator import itemgetter

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.inference.device import for_sums
from secateur.second_order.blocks import Block, blocks_of
from secateur.second_order.layerwise import blocks_there, gradients_by_layer, is_large
from secateur.second_order.surgeon import Removals
from secateur.training.batches import Batch
from secateur.training.mask_gradients import graph_from_embeddings, inputs_of, mask_gradients
from secateur.training.objectives import summed_loss


def mask_fisher(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> list[Tensor]:
    """Return ``mean_n g_n g_n^T`` of every block, (U, U) float64, with ``g_n`` the mask gradient of row n's loss.

    Kwon et al. 2022, equation 7, the full block of a layer; attention of all layers, then FFN of all layers. The
    rows are summed up as they pass, so memory does not depend on their number.
    """
    return [fisher for _, fisher in sorted(mask_fisher_in_turn(model, batches, precision=precision), key=itemgetter(0))]


def mask_fisher_in_turn(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision
) -> Iterator[tuple[int, Tensor]]:
    """Yield the same with the places of the blocks; of a large model one layer's at a time, the last first."""
    found = _layer_by_layer if is_large(model) else _of_whole_passes
    model.eval()
    return found(model, batches, precision=precision)


def _layer_by_layer(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision
) -> Iterator[tuple[int, Tensor]]:
    def loss(model: PreTrainedModel, batch: Batch) -> Tensor:
        return summed_loss(model, batch, precision=precision)

    blocks, device, held = blocks_of(model), for_sums(model.device), list(batches)
    num_rows = sum(len(batch.labels) for batch in held)
    for layer, passes in gradients_by_layer(model, held, loss=loss, at="inputs", precision=precision):
        places = (layer, layer + len(blocks) // 2)
        there, totals = blocks_there(model, layer), {place: _nothing(blocks[place], device) for place in places}
        for seen in passes:
            for (place, block), output, gradient in zip(there, seen.inputs, seen.gradients, strict=True):
                of_rows = seen.batch.summed(mask_gradients(output, gradient, unit_size=block.unit_size))
                totals[place] += (of_rows.T @ of_rows).to(device)
        for place in places:
            yield place, totals.pop(place).cpu() / max(num_rows, 1)


def _of_whole_passes(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision
) -> Iterator[tuple[int, Tensor]]:
    blocks = blocks_of(model)
    there = [block for block in blocks if block.num_units > 0]
    device = for_sums(model.device)
    totals = {id(block): _nothing(block, device) for block in blocks}
    num_rows = 0
    with graph_from_embeddings(model), inputs_of([block.projection for block in there]) as outputs:
        for batch in (host_batch.to(model.device) for host_batch in batches):
            loss = summed_loss(model, batch, precision=precision)
            gradients = torch.autograd.grad(loss, outputs)
            for block, output, gradient in zip(there, outputs, gradients, strict=True):
                of_rows = batch.summed(mask_gradients(output, gradient, unit_size=block.unit_size))
                totals[id(block)] += (of_rows.T @ of_rows).to(device)
            num_rows += len(batch.labels)
            outputs.clear()
    for place, block in enumerate(blocks):
        yield place, totals.pop(id(block)).cpu() / max(num_rows, 1)


def _nothing(block: Block, device: torch.device) -> Tensor:
    return torch.zeros(block.num_units, block.num_units, dtype=torch.float64, device=device)


def rearrange(fisher: Tensor, *, factors: Tensor) -> Removals:
    """Order the units of a block so that what goes first loses least together.

    Removing the units S costs ``1/2 1_S^T F 1_S`` to second order (Kwon et al. 2022, equation 11). Units go one
    after the other, each time the one that adds least to it.

    Differs from the paper in: it rearranges for one number of units, by exchanging single ones; here one order
    serves all numbers, so that any budget can be taken from it. Gains below zero count as zero, so that errors grow.

    Args:
        fisher: (U, U).
        factors: (U,) preset multipliers of what a unit adds; infinity keeps it.
    """
    num_units = len(fisher)
    factors = factors.double()
    together = torch.zeros(num_units, dtype=torch.float64)  # sum over what is gone of F_:,s
    gone = factors.isinf()
    order: list[int] = []
    errors = [0.0]
    for _ in range(int((~gone).sum())):
        added = (0.5 * fisher.diagonal() + together) * factors.masked_fill(factors.isinf(), 1.0)
        ranked = added.masked_fill(gone, torch.inf)
        unit = num_units - 1 - int(ranked.flip(0).argmin())  # of equals the higher index goes first
        order.append(unit)
        errors.append(errors[-1] + max(float(added[unit]), 0.0))
        gone[unit] = True
        together += fisher[:, unit]
    protected = sorted(set(range(num_units)) - set(order), reverse=True)
    return Removals(
        order=torch.tensor(order + protected, dtype=torch.int64),
        errors=torch.tensor(errors + [torch.inf] * len(protected), dtype=torch.float64),
    )

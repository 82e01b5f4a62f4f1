"""Second-order choice of single weights, and an update of what stays that makes up for what goes."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.inference.device import wide
from secateur.pruning.weights.activations import summed_over_tokens
from secateur.pruning.weights.matrices import WeightScores, prunable, source_of
from secateur.pruning.weights.ranking import GONE, STAYS, Removal, lowest, may_go
from secateur.training.batches import Batch

_BLOCK = 128
_DAMPING = 0.01


def saliencies(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> WeightScores:
    """Return w_ij^2 / [H^-1]_jj, H = X^T X + damping: the error of removing one weight alone.

    The saliency of optimal brain surgeon (Hassibi and Stork 1993), without its factor 1/2. ``solve`` computes
    it again column by column, given what went before.

    Args:
        model: scored in evaluation mode.
        batches: calibration rows; labels are not read.
        precision: arithmetic of the matrix products.
    """
    linears = prunable(model)
    inverses = {
        name: torch.cholesky_inverse(_cholesky(gram, name=name)).diagonal()
        for name, gram in gram_matrices(model, batches, names=tuple(linears), precision=precision).items()
    }
    return {
        name: (wide(linear.weight.detach()).square() / inverses[source_of(name)]).float()
        for name, linear in linears.items()
    }


def gram_matrices(
    model: PreTrainedModel, batches: Iterable[Batch], *, names: tuple[str, ...], precision: Precision
) -> dict[str, Tensor]:
    """Return X^T X over all tokens, (in, in) fp32, of the inputs of these matrices, by ``source_of`` their names."""
    linears = prunable(model)
    sources = {source_of(name): linears[source_of(name)] for name in names}
    return summed_over_tokens(model, batches, linears=sources, statistic=lambda x: x.T @ x, precision=precision)


def solve(weight: Tensor, gram: Tensor, removal: Removal, *, name: str = "weight") -> tuple[Tensor, Tensor]:
    """Remove weights of one matrix column by column and adjust the columns that follow.

    The removal of w_ij with error e = (w_ij - new) / U_jj changes row i by -e U_j, with U the upper Cholesky
    factor of the inverse of H (Frantar and Alistarh 2023, algorithm 1). In each block of 128 columns (of one
    group with a pattern) the weights with the lowest w_ij^2 / U_jj^2 are chosen.

    Differs from the reference code: the counts are exact (there, every block loses one more weight than asked
    where ``<=`` meets the threshold), inputs that never fire go first instead of in any case, and the inverse is
    taken in fp64.

    Args:
        weight: (out, in), left as it is.
        gram: X^T X of the inputs, (in, in).
        removal: what is to go.
        name: of the matrix, for errors.

    Returns:
        The new weight and what was chosen, (out, in) bool.

    Raises:
        ModelError: the inputs are not finite.
    """
    upper = torch.linalg.cholesky(torch.cholesky_inverse(_cholesky(gram, name=name)), upper=True)
    fires = gram.diagonal() > 0
    new = wide(weight.detach()).clone()
    removed = torch.zeros_like(weight, dtype=torch.bool)
    num_columns = weight.shape[1]
    step = _BLOCK if removal.pattern is None else removal.pattern.group
    counts = _counts(removal, step=step)
    for start in range(0, num_columns, _BLOCK):
        end = min(start + _BLOCK, num_columns)
        errors = torch.zeros_like(new[:, start:end])
        for column in range(start, end):
            if column % step == 0:
                part = slice(column, min(column + step, end))
                saliency = (new[:, part] / upper.diagonal()[part]).square() * fires[part]
                removed[:, part] = _chosen(saliency, removal, gone=removal.gone[:, part], count=counts[column // step])
            left = _left(new[:, column], removal, column=column, before=weight.detach()[:, column])
            error = torch.where(removed[:, column], new[:, column] - left, 0.0) / upper[column, column]
            new[:, column:end] -= error[:, None] * upper[column, column:end]
            errors[:, column - start] = error
        new[:, end:] -= errors @ upper[start:end, end:]
    if removal.divisor is None:
        new.masked_fill_(removed, 0.0)  # exactly: the subtraction above rounds
    return new.to(weight.dtype), removed


def _cholesky(gram: Tensor, *, name: str) -> Tensor:
    """Factor H = X^T X + lambda I, lambda = 1 % of the mean of its diagonal (1 where nothing fires), in fp64."""
    gram = wide(gram)
    damping = _DAMPING * float(gram.diagonal().mean()) or 1.0
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(
        gram + damping * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    )
    if int(failed) or not bool(factor.isfinite().all()):
        raise ModelError(
            f"the inputs of {name} on the calibration rows are not finite; "
            "check the checkpoint for NaN weights, or prune by magnitude, which needs no calibration"
        )
    return factor


def _chosen(saliency: Tensor, removal: Removal, *, gone: Tensor, count: int) -> Tensor:
    ranked = saliency.masked_fill(gone, GONE)
    if removal.pattern is not None:
        ranked = ranked.masked_fill(~may_go(ranked, removal.pattern) & ~gone, STAYS)
    return lowest(ranked.flatten(), count).view(saliency.shape)


def _left(values: Tensor, removal: Removal, *, column: int, before: Tensor) -> Tensor:
    if removal.divisor is None:
        return torch.zeros_like(values)
    return torch.where(removal.divided[:, column], before.to(values.dtype), values / removal.divisor)


def _counts(removal: Removal, *, step: int) -> list[int]:
    """Share the removals out over the parts of ``step`` columns, in proportion to what may still go there."""
    rows, columns = removal.gone.shape
    gone = pad(removal.gone.long(), (0, -columns % step)).view(rows, -1, step).sum(dim=2)
    sizes = torch.full((gone.shape[1],), step)
    sizes[-1] = columns - step * (len(sizes) - 1)
    limits = sizes if removal.pattern is None else (sizes - removal.pattern.stay).clamp_min(0)
    room = (limits.to(gone.device) - gone).clamp_min(0).sum(dim=0)
    before = [0, *room.cumsum(dim=0).tolist()]
    more = removal.num_removed - int(gone.sum())
    shares = [more * through // max(before[-1], 1) for through in before]
    return [
        own + after - until for own, until, after in zip(gone.sum(dim=0).tolist(), shares, shares[1:], strict=False)
    ]

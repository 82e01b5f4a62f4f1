"""What flows into a projection on the calibration rows, summed up while it flows by."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.models.hooks import hooked
from secateur.training.batches import Batch
from secateur.training.objectives import forward


class _AllSeen(Exception):
    """Ends a forward pass early: the layers above the last projection tell nothing."""


@torch.no_grad()
def summed_over_tokens(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    *,
    linears: Mapping[str, nn.Linear],
    statistic: Callable[[Tensor], Tensor],
    precision: Precision,
) -> dict[str, Tensor]:
    """Return the sum over all batches of ``statistic`` of the tokens (N, in) fp32 that reach each projection.

    The sums are fp32 whatever the precision of the model. Padding is left out: it is no part of any result. Only
    the sums are kept, so memory does not grow with the number of rows. The model may end in evaluation mode.
    """
    model.eval()
    totals: dict[str, Tensor] = {}
    current: list[Tensor] = []
    waiting: set[str] = set()

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # Sums of squares in bf16 are not even positive definite.
            with torch.autocast(inputs[0].device.type, enabled=False):
                value = statistic(inputs[0][current[-1]].float())
            totals[name] = totals[name] + value if name in totals else value
            waiting.discard(name)
            if not waiting:
                raise _AllSeen

        return hook

    with hooked(before=((linear, remember(name)) for name, linear in linears.items())):
        for batch in (host_batch.to(model.device) for host_batch in batches):
            current[:] = [batch.attention_mask.bool()]
            waiting.update(linears)
            with suppress(_AllSeen):
                forward(model, batch, precision=precision)
    return totals

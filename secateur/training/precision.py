"""Which arithmetic a stage uses."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.determinism import supports_bf16
from secateur.models.families import family_of


def resolve(precision: Precision) -> Literal["fp32", "bf16"]:
    """Replace ``auto`` by what runs in hardware here."""
    if precision == "auto":
        return "bf16" if supports_bf16() else "fp32"
    return precision


def autocast(precision: Precision, *, device: torch.device) -> AbstractContextManager[Any]:
    """Run matrix products in bf16 while weights stay in fp32, or do nothing for fp32.

    Not ``Accelerator(mixed_precision=...)``: that is a process-wide singleton which refuses a second value,
    and it patches the forward of the model that is to be cut and saved.
    """
    if resolve(precision) == "fp32":
        return nullcontext()
    # The cache serves weights that are used twice in a pass. Threads share it, so bits would depend on who is first.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


@contextmanager
def narrow_stream(model: PreTrainedModel, precision: Precision) -> Iterator[None]:
    """Train with a residual stream in bf16 for a while; evaluation mode and fp32 stay as they are.

    Under autocast the embeddings are fp32, and with them every sum of the stream: each of the three projections of
    an attention block casts its input again, and each gradient back. Cast once, a step takes 0 to 4 % (dense) and
    4 to 12 % (3 and 6 layers of a quarter of the width) less CPU time; the cosine between its gradient and that of
    fp32 was at least 0.9997, as it is without.
    """

    def cast(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output.to(torch.bfloat16) if module.training else output

    if resolve(precision) == "fp32":
        yield
        return
    handle = family_of(model).embeddings(model).register_forward_hook(cast)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def plain_attention(model: PreTrainedModel, precision: Precision, *, rows: TokenRows) -> Iterator[None]:
    """Train a generator with attention as three matrix products for a while, all in bf16.

    On a CPU the gradient of torch's fused kernel is slow in bf16: forward and backward of 4 096 tokens with 8 heads of
    32 features take 134 ms of CPU time in blocks of 128, and 37 ms this way (96 and 33 ms in blocks of 64). Long rows
    stay fused, because the product of all pairs of tokens would be held in memory.
    """
    is_short_text = rows.given is not None and int(rows.lengths.max()) <= _LONGEST_PLAIN
    if not is_short_text or resolve(precision) == "fp32" or model.device.type != "cpu":
        yield
        return
    # Despite its name it rules the CPU as well.
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


_LONGEST_PLAIN = 256

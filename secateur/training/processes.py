"""Several processes that train one model: each takes its rows of every batch, and gradients are added among them.

All of them run the same code on the same data, so what is not shared out (calibration, choices, validation) comes out
the same in each; one of them, the first, writes. Processes are joined by accelerate (gloo on CPUs, nccl on GPUs), and
what they add is added by ``torch.distributed`` itself: accelerate's wrapper takes the mean over processes whatever
share of the rows each has, and gives each its own batches instead of its own rows of one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from secateur.errors import ModelError

_PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, which may take long over a stage's first rows; one that ends is noticed at
once."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is.

    Attributes:
        rank: from 0.
        count: 1 where there are no others.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def now(cls) -> "Ranks":
        """Return what this process has joined; alone, it is the first of one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def add_(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Put the sum of all processes' gradients in place of each one's, and return the sum of their losses.

        All get the same bits, in an order that the number of processes decides. A parameter that has a gradient
        nowhere stays without one.
        """
        if self.count == 1:
            return loss
        there = loss.new_tensor([float(parameter.grad is not None) for parameter in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        told = torch.cat([loss.reshape(1), there, *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(told)
        sizes = [1, len(there), *(gradient.numel() for gradient in gradients)]
        parts: tuple[Tensor, ...] = torch.split(told, sizes)
        total, present, *summed = parts
        for parameter, has, values in zip(parameters, present.tolist(), summed, strict=True):
            parameter.grad = values.view_as(parameter).clone() if has else None
        return total[0]

    def check_same(self, model: nn.Module, *, title: str) -> None:
        """Compare the weights of all processes.

        Raises:
            ModelError: they differ, so what follows would.
        """
        if self.count == 1:
            return
        digest = hashlib.sha256()
        for tensor in model.state_dict().values():
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        found: list[str | None] = [None] * self.count
        distributed.all_gather_object(found, digest.hexdigest())
        if len(set(found)) > 1:
            raise ModelError(
                f"{title}: {self.count} processes ended with different weights; run.processes=1 would work, and this "
                "is a defect of secateur that its developers should hear of"
            )

    @contextmanager
    def own_draws(self, device: torch.device) -> Iterator[None]:
        """Let torch's generators draw other numbers in every process for a while; afterwards all are where they were.

        Rows of two processes would get the same dropout of attention weights otherwise.
        """
        if self.count == 1:
            yield
            return
        others = [] if device.type == "cpu" else [device]
        with torch.random.fork_rng(devices=others, device_type="cuda" if device.type == "cpu" else device.type):
            torch.manual_seed(torch.initial_seed() + self.rank)
            yield


@contextmanager
def joined(*, device: torch.device) -> Iterator[Ranks]:
    """Join the processes that the environment names (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``)."""
    from accelerate import PartialState

    threads = torch.get_num_threads()
    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    torch.set_num_threads(threads)  # accelerate chooses some of its own
    try:
        yield Ranks.now()
    finally:
        state.destroy_process_group()

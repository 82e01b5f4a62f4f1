"""Reading what goes into and out of single modules during a forward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from torch import Tensor, nn

from secateur.models.hooks import hooked


@dataclass(frozen=True)
class Tap:
    """What passed through a module last.

    Attributes:
        inputs: its first argument, (B, T, inputs).
        outputs: what it returned, (B, T, outputs).
    """

    inputs: Tensor
    outputs: Tensor


class _Reached(Exception):
    """The module that ends the pass has run."""


@contextmanager
def tapped(modules: Sequence[nn.Module]) -> Iterator[list[Tap]]:
    """Keep what each of the modules takes and returns; the list is full after each pass, and the caller clears it."""
    taps: list[Tap] = []
    collected: dict[int, Tap] = {}

    def remember(place: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            collected[place] = Tap(inputs=inputs[0], outputs=output)
            if len(collected) == len(modules):
                taps[:] = [collected[number] for number in range(len(modules))]
                collected.clear()

        return hook

    with hooked(after=((module, remember(place)) for place, module in enumerate(modules))):
        yield taps


def run_until(module: nn.Module, forward: Callable[[], object]) -> None:
    """Run a forward pass that ends right after one module; what would follow is not computed."""

    def stop(_: nn.Module, __: object, ___: object) -> None:
        raise _Reached

    with suppress(_Reached), hooked(after=[(module, stop)]):  # after the taps, which were there before
        forward()

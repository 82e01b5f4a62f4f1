"""Running a model layer by layer over many rows, with what passes between the layers on disk instead of in memory."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from secateur.config.run import Precision
from secateur.families import family_of
from secateur.inference.precision import autocast
from secateur.training.batches import Batch
from secateur.training.objectives import forward


class Spool(AbstractContextManager["Spool"]):
    """Tensors of a temporary file, read back in the order in which they were written."""

    def __init__(self, *, widened: bool = True) -> None:
        """Begin an empty one.

        Args:
            widened: they come back in fp32; False = in the type that they had. They are written in fp32.
        """
        self._widened = widened
        self._file = TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._shapes: list[tuple[tuple[int, ...], torch.dtype]] = []

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def append(self, tensor: Tensor) -> None:
        """Write one more tensor."""
        self._file.write(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        self._shapes.append((tuple(tensor.shape), torch.float32 if self._widened else tensor.dtype))

    def __iter__(self) -> Iterator[Tensor]:
        self._file.seek(0)
        for shape, dtype in self._shapes:
            values = np.frombuffer(bytearray(self._file.read(4 * int(np.prod(shape)))), dtype=np.float32)
            yield torch.from_numpy(values).reshape(shape).to(dtype)


@dataclass(frozen=True)
class Call:
    """What a layer is called with besides the hidden states: masks and the like."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Entered(Exception):
    """The layer was reached."""


def layer_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Return the smallest module around each layer's attention and feed-forward part."""
    names = {id(module): name for name, module in model.named_modules()}
    found = []
    for layer in family_of(model).layers(model):
        first, last = (names[id(linear)].split(".") for linear in (layer.attention.query, layer.ffn.down))
        common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
        found.append(model.get_submodule(".".join(common)))
    return found


@torch.no_grad()
def enter(model: PreTrainedModel, batch: Batch, *, precision: Precision, layer: int = 0) -> tuple[Tensor, Call]:
    """Return what a layer is given: hidden states (B, T, E), and the rest of its call."""
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.append((args, kwargs))
        raise _Entered

    handle = layer_modules(model)[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        forward(model, batch, precision=precision)
    except _Entered:
        pass
    finally:
        handle.remove()
    (hidden, *rest), kwargs = given[0]
    args = tuple(map(_without_cache, rest))
    return hidden, Call(args=args, kwargs={name: _without_cache(value) for name, value in kwargs.items()})


def _without_cache(value: Any) -> Any:
    """Return None in place of a cache: a layer is run more than once, and would add its keys each time."""
    return None if isinstance(value, Cache) else value


@torch.no_grad()
def run_layer(layer: nn.Module, hidden: Tensor, call: Call, *, precision: Precision) -> Tensor:
    """Return the hidden states after a layer, (B, T, E)."""
    return through(layer, hidden, call, precision=precision)


def through(layer: nn.Module, hidden: Tensor, call: Call, *, precision: Precision) -> Tensor:
    """Do the same with the graph that leads there, where gradients are on."""
    found = called(layer, hidden, call, precision=precision)
    output: Tensor = found[0] if isinstance(found, tuple) else found
    return output


def called(layer: nn.Module, hidden: Tensor, call: Call, *, precision: Precision) -> Any:
    """Return what a layer returns: hidden states, of some architectures first in a tuple."""
    with autocast(precision, device=hidden.device):
        return layer(hidden, *call.args, **call.kwargs)


@contextmanager
def standing_in(model: PreTrainedModel, output: Any) -> Iterator[None]:
    """Let every layer of a model return this for a while, without computing anything.

    A pass is then what the model makes of it behind its last layer.
    """
    layers = layer_modules(model)
    own = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        vars(layer)["forward"] = lambda *_, **__: output
    try:
        yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            vars(layer).pop("forward")
            if before is not None:
                vars(layer)["forward"] = before


def calls(
    model: PreTrainedModel, batches: Callable[[], Iterable[Batch]], *, layer: int, precision: Precision
) -> Iterator[tuple[Batch, Call]]:
    """Yield every batch with the call of a layer; computed again each time.

    It costs the embeddings, and the layers in front of the first one that is called alike.
    """
    first = family_of(model).first_alike(model.config, layer)
    for batch in (host_batch.to(model.device) for host_batch in batches()):
        yield batch, enter(model, batch, precision=precision, layer=first)[1]


def calls_of(model: PreTrainedModel, batch: Batch, *, precision: Precision) -> list[Call]:
    """Return the calls of all layers for one batch on the model's device."""
    firsts = [family_of(model).first_alike(model.config, index) for index in range(len(layer_modules(model)))]
    of_kinds = {first: enter(model, batch, precision=precision, layer=first)[1] for first in dict.fromkeys(firsts)}
    return [of_kinds[first] for first in firsts]

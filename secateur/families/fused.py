"""Linears that an architecture stores, and calls, as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from secateur.families.linears import linear_from


@dataclass(frozen=True)
class Fusion:
    """Which linears of a layer an architecture keeps as one, or transposed.

    Attributes:
        path: of the module, relative to a layer.
        num_parts: linears in it.
        grouped: they are queries, keys and values, and a head has as many queries as the architecture groups.
        interleaved: the queries, keys and values of a head stand together, those of the next head behind them.
    """

    path: str
    num_parts: int = 1
    grouped: bool = False
    interleaved: bool = False


class Fused(nn.Module):
    """Separate linears in place of one: its output is theirs, side by side, or head by head.

    The state is that of the module it replaces, one matrix and one bias under the old names, so checkpoints stay
    those that transformers reads.
    """

    def __init__(
        self, parts: Sequence[nn.Linear], *, name: str, transposed: bool, interleaved: int | None = None
    ) -> None:
        """Take the parts in the order of their outputs.

        Args:
            parts: of the same shape, where they are interleaved.
            name: that the architecture calls the module by, for people.
            transposed: the stored matrix is ``(in, out)``.
            interleaved: features of each part that stand together; None where each part does as a whole.
        """
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.interleaved = interleaved
        self._transposed = transposed
        self._name = name

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of all parts beside each other."""
        outputs = [part(inputs) for part in self.parts]
        return outputs[0] if len(outputs) == 1 else self._joined(outputs, dim=-1)

    def extra_repr(self) -> str:
        """Return what whoever looks for a linear here is told; peft prints it when it finds none."""
        names = [f"{self._name}.parts.{number}" for number in range(len(self.parts))]
        return f'stored as one matrix, called as linears: target_modules={names} or "all-linear" finds them'

    def state_dict(self, *_: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return one ``weight``, one ``bias`` where the parts have them, and what adapters have added to the parts."""
        found = {} if destination is None else destination
        parts = self._linears()
        weight = self._joined([part.weight for part in parts], dim=0)
        values = {"weight": weight.t() if self._transposed else weight}
        if parts[0].bias is not None:
            values["bias"] = self._joined([part.bias for part in parts], dim=0)
        found.update({prefix + name: value if keep_vars else value.detach() for name, value in values.items()})
        inside = {f"{prefix}{path}" for name in ("weight", "bias") for path in self._paths(name)}
        added = super().state_dict(prefix=prefix, keep_vars=keep_vars)
        found.update({name: value for name, value in added.items() if name not in inside})
        return found

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        parts = self._linears()
        for name in ("weight", "bias"):
            value = state_dict.pop(prefix + name, None)
            if value is None:
                continue
            if name == "weight" and self._transposed:
                value = value.t()
            pieces = _divided(value, [part.out_features for part in parts], interleaved=self.interleaved)
            for path, piece in zip(self._paths(name), pieces, strict=True):
                # A copy of its own: views would keep the whole alive, and be unaligned.
                state_dict[prefix + path] = piece.clone(memory_format=torch.contiguous_format)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _joined(self, pieces: Sequence[Tensor], *, dim: int) -> Tensor:
        if self.interleaved is None:
            return torch.cat(list(pieces), dim=dim)
        size = self.interleaved
        if dim == 0:
            return torch.cat([torch.unflatten(piece, 0, (-1, size)) for piece in pieces], dim=1).flatten(0, 1)
        return torch.cat([torch.unflatten(piece, -1, (-1, size)) for piece in pieces], dim=-1).flatten(-2)

    def _linears(self) -> list[nn.Linear]:
        return [cast("nn.Linear", part) for part in self.parts]

    def _paths(self, name: str) -> list[str]:
        """Return where the parts keep their weight or bias: an adapter around a linear moves it further down."""
        return [
            f"parts.{number}.{path}"
            for number, part in enumerate(self._linears())
            for path, parameter in part.named_parameters()
            if parameter is getattr(part, name)
        ]


def separated(module: nn.Module, fusion: Fusion, *, queries_per_head: int = 1, head_dim: int = 0) -> Fused:
    """Split a linear, or a ``Conv1D``, into its parts; those of heads that are interleaved need ``head_dim``."""
    weight, bias = cast("Tensor", module.weight), cast("Tensor | None", module.bias)
    transposed = isinstance(module, Conv1D)
    rows = weight.detach().t() if transposed else weight.detach()
    shares = [queries_per_head if fusion.grouped and part == 0 else 1 for part in range(fusion.num_parts)]
    sizes = [len(rows) // sum(shares) * share for share in shares]
    interleaved = head_dim if fusion.interleaved else None
    pieces = _divided(rows, sizes, interleaved=interleaved)
    biases = [None] * len(sizes) if bias is None else _divided(bias.detach(), sizes, interleaved=interleaved)
    parts = [
        linear_from(row.clone(memory_format=torch.contiguous_format), None if one is None else one.clone())
        for row, one in zip(pieces, biases, strict=True)
    ]
    name = fusion.path.rpartition(".")[2]
    return Fused(parts, name=name, transposed=transposed, interleaved=interleaved)


def _divided(whole: Tensor, sizes: Sequence[int], *, interleaved: int | None) -> list[Tensor]:
    """Return the parts of rows; ``whole`` is ``(sum of sizes, ...)``."""
    if interleaved is None:
        return list(torch.split(whole, list(sizes)))
    heads = torch.unflatten(whole, 0, (-1, len(sizes) * interleaved))
    return [part.flatten(0, 1) for part in torch.split(heads, interleaved, dim=1)]

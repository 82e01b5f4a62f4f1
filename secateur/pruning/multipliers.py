"""Preset importance: a table of factors by name, ahead of any score."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.budget.scores import Scores
from secateur.config.prune import StructureKind
from secateur.errors import ConfigError
from secateur.families.structures import Kept, Widths

_NAME = re.compile(r"layers\.(?P<layer>\d+|\*)\.(?P<kind>heads|ffn)(?:\.(?P<unit>\d+|\*))?")
_KINDS: tuple[StructureKind, ...] = ("heads", "ffn")


def apply_multipliers(scores: Scores, multipliers: Mapping[str, float], *, kept: Kept | None) -> Scores:
    """Return the scores times the preset factors; a structure without an entry keeps its score.

    Names are ``layers.<i|*>.heads[.<h|*>]`` and ``layers.<i|*>.ffn[.<n|*>]``, with numbers of the dense model; of
    several entries that name a structure the last one counts. A factor of 0 gives a score of 0: nothing goes before
    it. Infinity gives an infinite score: an allocator must never take it. Factors of 1 change no bit, and the same
    factor for everything changes no ranking.

    Source: the per-operator settings of neural-compressor and the ``pruning_ratio_dict`` of Torch-Pruning do the same
    with separate budgets; here the factors act inside one ranking under one budget.

    Args:
        scores: of the model as it is now.
        multipliers: checked by ``check_multipliers``; entries for what has left already do nothing.
        kept: which dense units the scores belong to; None for a dense model.
    """
    current = Kept.all(_widths(scores)) if kept is None else kept
    table = list(_entries(multipliers))

    def scaled(kind: StructureKind, place: int, values: Tensor) -> Tensor:
        units: tuple[int, ...] = getattr(current, kind)[place]
        factors = _factors(table, layer=current.layers[place], kind=kind, units=units).to(values.device)
        # Not inf * score, which is not a number where the score is 0; and a large factor does not protect.
        products = (values * factors.nan_to_num(posinf=1.0)).clamp_max(torch.finfo(torch.float32).max)
        return torch.where(factors.isinf(), math.inf, products).float()

    return Scores(
        heads=tuple(scaled("heads", place, values) for place, values in enumerate(scores.heads)),
        ffn=tuple(scaled("ffn", place, values) for place, values in enumerate(scores.ffn)),
    )


def check_multipliers(multipliers: Mapping[str, float], widths: Widths, *, complete: bool) -> None:
    """Refuse a table that names what is not there, or leaves out what it must name; needs shapes only.

    Args:
        multipliers: ``prune.multipliers``.
        widths: of the dense model.
        complete: every layer's heads and neurons need at least one entry, because the criterion needs it.

    Raises:
        ConfigError: lists all unknown or all missing names, and what would work.
    """
    unknown = [name for name in multipliers if not _exists(name, widths)]
    if unknown:
        raise ConfigError(
            f"prune.multipliers names what is not there: {', '.join(unknown)}; "
            f"names of this model are {_pattern('heads', widths)} and {_pattern('ffn', widths)}, * stands for all"
        )
    if not complete:
        return
    covered = {(entry.layer, entry.kind) for entry in _entries(multipliers)}
    missing = [
        f"layers.{layer}.{kind}"
        for layer in range(widths.num_layers)
        for kind in _KINDS
        if getattr(widths, kind)[layer] > 0 and not covered & {(layer, kind), (None, kind)}
    ]
    if missing:
        raise ConfigError(
            f"the chosen prune.criterion needs an entry for the heads and the ffn of every layer; prune.multipliers "
            f"lacks {', '.join(missing)}; layers.*.heads and layers.*.ffn name all of them at once"
        )


@dataclass(frozen=True)
class _Entry:
    """One line of the table; None stands for all."""

    layer: int | None
    kind: StructureKind
    unit: int | None
    factor: float


def _entries(multipliers: Mapping[str, float]) -> Iterator[_Entry]:
    for name, factor in multipliers.items():
        if (entry := _parsed(name, factor)) is not None:
            yield entry


def _parsed(name: str, factor: float) -> _Entry | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind: StructureKind = "heads" if found["kind"] == "heads" else "ffn"
    return _Entry(layer=_number(found["layer"]), kind=kind, unit=_number(found["unit"]), factor=factor)


def _number(text: str | None) -> int | None:
    return None if text is None or text == "*" else int(text)


def _exists(name: str, widths: Widths) -> bool:
    entry = _parsed(name, 1.0)
    if entry is None or (entry.layer is not None and entry.layer >= widths.num_layers):
        return False
    counts: tuple[int, ...] = getattr(widths, entry.kind)
    count = max(counts) if entry.layer is None else counts[entry.layer]
    return entry.unit is None or entry.unit < count


def _factors(table: list[_Entry], *, layer: int, kind: StructureKind, units: tuple[int, ...]) -> Tensor:
    """Return the factor of each unit, 1 where nothing names it."""
    factors = torch.ones(len(units), dtype=torch.float64)
    numbers = torch.tensor(units, dtype=torch.int64)
    for entry in table:
        if entry.kind == kind and entry.layer in {None, layer}:
            factors[numbers == entry.unit if entry.unit is not None else slice(None)] = entry.factor
    return factors


def _pattern(kind: StructureKind, widths: Widths) -> str:
    counts: tuple[int, ...] = getattr(widths, kind)
    return f"layers.<0..{widths.num_layers - 1}|*>.{kind}[.<0..{max(counts) - 1}|*>]"


def _widths(scores: Scores) -> Widths:
    return Widths(heads=tuple(map(len, scores.heads)), ffn=tuple(map(len, scores.ffn)), head_dim=1)

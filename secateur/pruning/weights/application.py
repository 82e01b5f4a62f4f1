"""One round on single weights: score, choose, remove or suppress, and let some return."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.criterion import LookAtInputs, OfWeights
from secateur.pruning.weights import gradient
from secateur.pruning.weights.matrices import WeightMasks, WeightScores, check_fits, prunable
from secateur.pruning.weights.multipliers import factors_of
from secateur.pruning.weights.ranking import Pattern, Removal, choose, lowest
from secateur.training.batches import Batch, Rows, batches_of
from secateur.training.objectives import pad_token_id


def prune_weights_(
    model: PreTrainedModel,
    *,
    rows: Rows,
    sparsity: float,
    settings: PruneSettings,
    precision: Precision,
    already: WeightMasks | None = None,
) -> WeightMasks:
    """Remove or suppress single weights of the encoder's projections until this share of them is gone.

    Exactly ``round(sparsity * weights)`` go, what is gone already included (with a pattern see
    ``selection.choose``). ``remove`` sets zeros, which later rounds keep. ``suppress`` divides by
    ``suppress_divisor``, once: what was suppressed before and is chosen again keeps its value, and what training
    has made important again is rescued by not being chosen. With ``regrow_fraction`` so many more go that this
    share of them can return where the loss gradient is largest, the same share in each matrix (RigL, Evci et al.
    2020, section 3): zeros return as zeros that may be trained.

    Scores and choice follow ``criterion`` and its settings, ``multipliers`` and ``pattern``. A criterion with a solver
    also adjusts the weights that stay, layer after layer on what the layers before now put out.

    Args:
        model: changed in place; ends in evaluation mode.
        rows: calibration rows; read in batches of ``settings.recovery.batch_size``.
        sparsity: share that goes, in [0, 1).
        settings: the ``prune`` section.
        precision: arithmetic of the matrix products.
        already: the masks of the round before, or ``matrices.zeros_of`` a model that somebody else has pruned.
            What they do not keep is gone where it is zero, and suppressed where it is not. None = nothing is.

    Returns:
        What stays; ``ZeroKeeper`` takes it while the model is trained.

    Raises:
        BudgetError: multipliers or the pattern protect too much.
        ConfigError: multipliers name what is not there.
        ModelError: weights, gradients or activations are not finite, or ``already`` is of another model.
    """
    round_ = _prepare(model, rows, sparsity=sparsity, settings=settings, precision=precision, already=already)
    if (solver := round_.of_weights.solver) is not None:
        masks = _solve_(model, round_, solver)
    else:
        masks = _chosen(model, round_)
        _apply_(model, masks, round_)
    if round_.num_returning == 0:
        return masks
    return _regrow_(model, masks, round_)


def choose_weights(
    model: PreTrainedModel,
    *,
    rows: Rows,
    sparsity: float,
    settings: PruneSettings,
    precision: Precision,
    already: WeightMasks | None = None,
) -> WeightMasks:
    """Return what ``prune_weights_`` would let go by these scores, and change no weight: arguments as there.

    For the growing decay, which works on what will go. A criterion with a solver is scored without it.
    """
    round_ = _prepare(model, rows, sparsity=sparsity, settings=settings, precision=precision, already=already)
    return _chosen(model, round_)


@dataclass(frozen=True)
class _Round:
    """What the steps of one round share."""

    rows: Rows
    settings: PruneSettings
    precision: Precision
    pad: int
    gone: Mapping[str, Tensor]
    suppressed: Mapping[str, Tensor]
    factors: Mapping[str, float]
    pattern: Pattern | None
    num_removed: int
    num_returning: int

    def batches(self) -> Iterator[Batch]:
        return batches_of(self.rows, batch_size=self.settings.recovery.batch_size, pad_token_id=self.pad)

    @property
    def of_weights(self) -> OfWeights[Any]:
        found = self.settings.scorer.weights
        assert found is not None  # the schema refuses a criterion that scores no weights
        return found

    @property
    def divisor(self) -> float | None:
        return self.settings.suppress_divisor if self.settings.action == "suppress" else None

    def choose(self, scores: WeightScores) -> WeightMasks:
        return choose(
            scores,
            num_removed=self.num_removed + self.num_returning,
            comparison=self.of_weights.within(self.settings.own),
            gone=self.gone,
            factors=self.factors,
            pattern=self.pattern,
        )


def _prepare(
    model: PreTrainedModel,
    rows: Rows,
    *,
    sparsity: float,
    settings: PruneSettings,
    precision: Precision,
    already: WeightMasks | None,
) -> _Round:
    if already is not None:
        check_fits(already, model)
    weights = {name: linear.weight.detach() for name, linear in prunable(model).items()}
    before = {
        name: torch.zeros_like(weight, dtype=torch.bool)
        if already is None
        else ~already.matrices[name].to(weight.device)
        for name, weight in weights.items()
    }
    total = sum(weight.numel() for weight in weights.values())
    num_removed = round(sparsity * total)
    returning = settings.regrow_fraction
    return _Round(
        rows=rows,
        settings=settings,
        precision=precision,
        pad=pad_token_id(model),
        gone={name: mask & (weights[name] == 0) for name, mask in before.items()},
        suppressed={name: mask & (weights[name] != 0) for name, mask in before.items()},
        factors=factors_of(settings.multipliers, weights, complete=settings.needs_multipliers),
        pattern=Pattern.named(settings.pattern),
        num_removed=num_removed,
        num_returning=min(round(num_removed * returning / (1.0 - returning)), total - num_removed),
    )


def _chosen(model: PreTrainedModel, round_: _Round) -> WeightMasks:
    score, own = round_.of_weights.score, round_.settings.own
    return round_.choose(score(model, round_.batches(), precision=round_.precision, settings=own))


@torch.no_grad()
def _apply_(model: PreTrainedModel, masks: WeightMasks, round_: _Round) -> None:
    for name, linear in prunable(model).items():
        removed = ~masks.matrices[name].to(linear.weight.device)
        if round_.divisor is None:
            linear.weight.masked_fill_(removed, 0.0)
        else:
            new = removed & ~round_.suppressed[name]
            linear.weight[new] = linear.weight[new] / round_.divisor


def _solve_(model: PreTrainedModel, round_: _Round, look_at_inputs: LookAtInputs) -> WeightMasks:
    """Solve layer by layer; how many weights each matrix loses is settled before."""
    linears = prunable(model)
    planned = round_.choose({name: linear.weight.detach().abs().float() for name, linear in linears.items()})
    masks = dict(planned.matrices)
    layers: dict[str, list[str]] = {}
    for name in linears:
        layers.setdefault(".".join(name.split(".")[:2]), []).append(name)
    for names in layers.values():
        solve = look_at_inputs(model, round_.batches(), names=tuple(names), precision=round_.precision)
        for name in names:
            removal = Removal(
                num_removed=int((~planned.matrices[name]).sum()),
                gone=round_.gone[name],
                divided=round_.suppressed[name],
                divisor=round_.divisor,
                pattern=round_.pattern,
            )
            if removal.num_removed == int(removal.gone.sum()):
                continue  # nothing new goes: the weights keep their bits
            new, removed = solve(linears[name].weight, removal, name=name)
            with torch.no_grad():
                linears[name].weight.copy_(new)
            masks[name] = ~removed.cpu()
    return WeightMasks(masks)


def _regrow_(model: PreTrainedModel, masks: WeightMasks, round_: _Round) -> WeightMasks:
    """Give back ``num_returning`` of what does not stay, the same share in every matrix."""
    slopes = gradient.sizes(model, round_.batches(), precision=round_.precision)
    through = back = 0
    result = {}
    for name, mask in masks.matrices.items():
        removed = ~mask
        num_removed = int(removed.sum())
        through += num_removed
        until, back = back, round_.num_returning * through // max(masks.num_removed, 1)
        ranked = slopes[name].cpu().masked_fill(mask, torch.inf)
        result[name] = ~lowest(ranked.flatten(), num_removed - (back - until)).view(mask.shape)
    return WeightMasks(result)

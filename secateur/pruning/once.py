"""One model, one round, no project: what `secateur prune` and ``secateur.prune`` have in common."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.budget.cost import structure_costs
from secateur.budget.goal import Goal
from secateur.budget.latency_measurement import measure_table
from secateur.budget.latency_table import LatencyTable
from secateur.config.prune import PruneSettings, Round
from secateur.config.run import Precision
from secateur.determinism import fingerprint
from secateur.errors import ConfigError, MeasurementError, ModelError
from secateur.families import family_of, is_static
from secateur.inference.at_rest import SMALL
from secateur.models.heads import VECTORS, head_of
from secateur.models.surgery import widths_of
from secateur.pruning.multipliers import check_multipliers
from secateur.pruning.selection import COST_LENGTH
from secateur.pruning.state import State
from secateur.pruning.training import DenseModel
from secateur.pruning.tries import RoundResult, run_round
from secateur.pruning.weights.matrices import prunable
from secateur.pruning.weights.multipliers import factors_of
from secateur.second_order.layerwise import is_large
from secateur.training.batches import Rows

_MOST_SEARCHED = 325_000_000
"""Parameters outside the embeddings, a few more than BERT-large has: forty stitched models of 358 M on 256 rows of 128
tokens would take 25 times as long as all the rest."""


@dataclass(frozen=True)
class Once:
    """What is done to one model.

    Attributes:
        settings: criterion, budget, recovery (0 epochs = no training).
        calibration: rows that the criterion sees, and with epochs those to learn from.
        validation: rows that judge.
        seed: of every random draw.
        precision: arithmetic of the matrix products.
    """

    settings: PruneSettings
    calibration: Rows
    validation: Rows
    seed: int
    precision: Precision

    @property
    def goal(self) -> Goal:
        """What is asked for: a fraction of dense, or a promise."""
        return Goal(target=self.settings.budget.fraction, max_drop=self.settings.budget.max_drop)

    def run(self, model: PreTrainedModel, dense_model: DenseModel, *, state: State) -> RoundResult:
        """Run the round; the model, in fp32, is left in an unknown state.

        Raises:
            BudgetError: the budget is out of reach.
            ConfigError, ModelError: as ``prune_``.
        """
        return run_round(
            model,
            train=self.calibration,
            validation=self.validation,
            dense_model=dense_model,
            goal=self.goal,
            settings=self.settings,
            round_=Round(prev="baseline"),
            seed=self.seed,
            precision=self.precision,
            title="prune",
            state=state,
        )

    def facts(self, result: RoundResult) -> dict[str, Any]:
        """Return what a card says of the round, but for the scores."""
        outcome = result.outcome
        return {
            "key": None,
            "state": "recovered" if self.settings.recovery.epochs else "compact",
            "parameters": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            "fingerprint": fingerprint(constraints=None, device=outcome.model.device),
            "widths": widths_of(outcome.model).as_dict(),
            "kept": outcome.state.kept.as_dict(),
            "asked": self.goal.asked(self.settings.budget.kind),
            "price": self.settings.budget.kind,
            "achieved": outcome.achieved,
            "accepted": True,
            "stopped": False,
            "reason": None,
            "tried": None,
            **result.as_card(),
        }


def dense_beside(model: PreTrainedModel, settings: PruneSettings) -> PreTrainedModel:
    """Return the dense model as a round needs it beside the one that it cuts: a copy, or a shell of its shapes.

    Its weights teach, and come back where structures are regrown; else none is read, and budgets ask for its config.
    """
    if settings.recovery.epochs != 0.0 or settings.trains_before_cut or settings.regrow_fraction:
        return copy.deepcopy(model)
    shells = {id(one): nn.Parameter(torch.empty_like(one, device="meta")) for one in model.parameters()}
    return copy.deepcopy(model, shells)


def left_out_for_size(config: PreTrainedConfig) -> dict[str, Any]:
    """Return settings that `secateur prune` changes for a model whose search for widths would take hours, by name."""
    params = structure_costs(config, length=COST_LENGTH).total(family_of(config).widths(config)).params
    return {"criteria.obs.search_trials": 0} if params > _MOST_SEARCHED else {}


def can_rest(model: PreTrainedModel, settings: PruneSettings) -> bool:
    """Say whether the linears of a model may stay in 16 bits while it is pruned: those of a large generator.

    Nothing but the last projections of its blocks is written then; those are in fp32 from then on.
    """
    changes_more = (
        settings.recovery.epochs != 0.0
        or settings.trains_before_cut
        or settings.regrow_fraction
        or settings.num_layers is not None
        or settings.hidden_size is not None
        or settings.action != "remove"
        or settings.granularity != "structures"
    )
    small = model.dtype in SMALL and head_of(model).per_token and is_large(model)
    return small and not changes_more and settings.scorer.at_rest(settings.own)


def check_model(model: PreTrainedModel, settings: PruneSettings, *, name: str) -> None:
    """Refuse, before anything is computed, a model that cannot be pruned as it is asked.

    Args:
        model: with the widths that it has.
        settings: may name layers, features and structures.
        name: of the model in messages.

    Raises:
        ModelError: it is a static student, a weight is not finite, the model has fewer layers or features than are to
            stay, or no table of latency can be measured of it.
        ConfigError: multipliers name what is not there.
    """
    if is_static(model.config):
        raise ModelError(f"{name} is a static student, of which nothing can be cut; the model it learned from can be")
    for parameter_name, tensor in model.named_parameters():
        if not bool(tensor.isfinite().all()):
            raise ModelError(
                f"{name}: {parameter_name} holds NaN or infinity; a model whose weights are finite can be pruned"
            )
    if head_of(model) is VECTORS:
        check_embedder(settings)
    _check_sizes(model, settings)
    if settings.granularity == "weights":
        factors_of(settings.multipliers, prunable(model), complete=settings.needs_multipliers)
    else:
        check_multipliers(settings.multipliers, widths_of(model), complete=settings.needs_multipliers)


def check_embedder(settings: PruneSettings) -> None:
    """Refuse what an embedding model cannot be pruned by.

    Raises:
        ConfigError: the width of its vectors would change, or the criterion has nothing to follow.
    """
    if settings.hidden_size is not None:
        raise ConfigError(
            f"hidden_size={settings.hidden_size}: the vectors of an embedding model are as wide as its hidden states, "
            "and stay so; heads, neurons, layers (num_layers) and tokens (vocabulary_min_count) can go"
        )
    if settings.scorer.by_loss:
        raise ConfigError(
            f"criterion {settings.criterion} follows the loss, and an embedding model learns to be like itself, where "
            "there is none; obs looks at what its vectors depend on"
        )


def _check_sizes(model: PreTrainedModel, settings: PruneSettings) -> None:
    """Refuse depth and width that the model does not have, and time that cannot be measured."""
    widths, hidden_size = widths_of(model), family_of(model).hidden_size(model.config)
    sizes = (
        ("num_layers", settings.num_layers, widths.num_layers, "layers"),
        ("hidden_size", settings.hidden_size, hidden_size, "features"),
    )
    for name, asked, found, unit in sizes:
        if asked is not None and asked > found:
            raise ModelError(f"{name}={asked} is more than the model has ({found} {unit}); ask for {found} or less")
    # A table of latency is taken from models as transformers builds them.
    if settings.budget.kind == "latency" and not family_of(model).is_dense(model.config):
        raise ModelError(
            "a budget of latency starts from a dense model, and this one was pruned before; ask for macs instead"
        )


def table_for(config: PreTrainedConfig, settings: PruneSettings) -> LatencyTable | None:
    """Measure what a budget of time needs; without a project there is no table that was measured before.

    Raises:
        MeasurementError: what was measured is too noisy to decide by.
        ModelError: as ``measure_table``.
    """
    if settings.budget.kind != "latency":
        return None
    table = measure_table(config, settings.latency, hidden_size=settings.hidden_size)
    if table.doubt is not None:
        doubt = table.doubt.replace("prune.latency", "latency")  # as `-S` calls it here
        raise MeasurementError(f"the latency table that was measured {doubt}; run again when the machine is quieter")
    return table

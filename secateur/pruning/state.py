"""What is known of a pruned model besides its weights, and what is left of it as fractions of dense."""

from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from secateur.budget.cost import amount_of, structure_costs
from secateur.budget.prices import Prices
from secateur.families import is_static
from secateur.families.structures import Kept, Masks, Widths
from secateur.models.surgery import widths_of
from secateur.pruning.selection import COST_LENGTH, Dense
from secateur.pruning.weights.matrices import WeightMasks


@dataclass(frozen=True)
class State:
    """What the weights alone do not tell about a model that earlier rounds have pruned.

    Attributes:
        kept: which units of the dense model it has.
        features: which features of the dense residual stream it has; None = all.
        suppressed: structures that are divided, False = suppressed; None = none.
        weights: single weights that are gone or divided; None = none.
    """

    kept: Kept
    features: tuple[int, ...] | None = None
    suppressed: Masks | None = None
    weights: WeightMasks | None = None

    @classmethod
    def dense(cls, widths: Widths) -> "State":
        """Return the state of a model that nothing was done to."""
        return cls(kept=Kept.all(widths))


def achieved_fractions(model: PreTrainedModel, *, dense: Dense, state: State | None = None) -> dict[str, float]:
    """Return what is left as fractions of dense, in every unit of a budget; ``sparsity`` is what is gone.

    A table of prices knows nothing of a static student, whose time is not predicted.
    Suppressed structures and weights count as gone in ``sparsity`` alone: they still take their time and space.
    """
    whole = amount_of(dense.config, length=COST_LENGTH)
    left = amount_of(model, length=COST_LENGTH)
    found = {"macs": left.macs / whole.macs, "params": left.params / whole.params}
    found["sparsity"] = 1.0 - _weights_left(model, state) / _prices_of_weights(dense.config).total(dense.widths)
    if dense.table is not None and not is_static(model.config):
        found["latency"] = dense.table.predict(widths_of(model)) / dense.table.dense_ms
    return found


def _weights_left(model: PreTrainedModel, state: State | None) -> int:
    """Count the weights of the projections that are neither removed nor suppressed."""
    if state is not None and state.weights is not None:
        return state.weights.num_weights - state.weights.num_removed
    widths = widths_of(model)
    if state is not None and state.suppressed is not None:
        widths = state.suppressed.widths(widths.head_dim)
    return _prices_of_weights(model.config).total(widths)


def _prices_of_weights(config: PreTrainedConfig) -> Prices:
    return Prices.of(structure_costs(config, length=COST_LENGTH), "sparsity")


def share_to_remove(model: PreTrainedModel, *, target: float, dense: Dense) -> float:
    """Return the share of the weights that are there which must go; what left with layers and features counts."""
    whole = _prices_of_weights(dense.config).total(dense.widths)
    current = _prices_of_weights(model.config).total(widths_of(model))
    return max(0.0, 1.0 - target * whole / max(current, 1))

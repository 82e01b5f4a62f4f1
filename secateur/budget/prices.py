"""What a model of given widths costs, block by block, in the unit of a budget."""

from dataclasses import dataclass

from secateur.budget.cost import StructureCosts
from secateur.budget.latency_table import LatencyTable
from secateur.config.base import Runtime
from secateur.config.prune import BudgetKind
from secateur.families.structures import Widths


@dataclass(frozen=True)
class Prices:
    """Integer prices that are the same for every head and every neuron.

    Attributes:
        head: of one attention head.
        neuron: of one feed-forward neuron.
        fixed: what no cut of heads or neurons removes.
        kind: the budget that is counted.
        dense: price of the dense model where its structures have other prices, because its residual stream is
            wider; None where it is the total of its widths.
    """

    head: int
    neuron: int
    fixed: int
    kind: BudgetKind = "macs"
    dense: float | None = None

    @classmethod
    def of(cls, costs: StructureCosts, kind: BudgetKind, *, dense: float | None = None) -> "Prices":
        """Take one column of the cost table.

        ``sparsity`` counts the weights of the layers' linears, so nothing is fixed.

        Args:
            costs: of the model as it is cut.
            kind: the column.
            dense: see the attribute.

        Raises:
            ValueError: ``latency`` has no price per unit; take ``PriceTable.measured``.
        """
        if kind == "latency":
            raise ValueError("time is not linear in the widths; its prices are those of a latency table")
        if kind == "macs":
            return cls(head=costs.head.macs, neuron=costs.neuron.macs, fixed=costs.fixed.macs, kind=kind, dense=dense)
        if kind == "params":
            return cls(
                head=costs.head.params, neuron=costs.neuron.params, fixed=costs.fixed.params, kind=kind, dense=dense
            )
        return cls(head=costs.head_weights, neuron=costs.neuron_weights, fixed=0, kind=kind, dense=dense)

    def total(self, widths: Widths) -> int:
        """Return the price of a whole model."""
        return self.fixed + sum(widths.heads) * self.head + sum(widths.ffn) * self.neuron

    def of_dense(self, widths: Widths) -> float:
        """Return the price of the dense model, which has these widths: what a budget is a fraction of."""
        return self.total(widths) if self.dense is None else self.dense


@dataclass(frozen=True)
class PriceTable:
    """Prices of blocks, which need not be linear in their widths; the same for every layer.

    Attributes:
        heads: price of a layer's attention with 0, 1, ..., H heads.
        ffn: price of a layer's feed-forward block with 0, 1, ..., F neurons.
        fixed: what is paid once per model.
        head_dim: features per head; no price depends on it, the solver writes it into its widths.
        kind: the budget that is priced.
        runtime: what ran the model, for a budget of latency.
        dense: price of the dense model where it is not the total of its widths: it was measured, or its residual
            stream is wider.
    """

    heads: tuple[float, ...]
    ffn: tuple[float, ...]
    fixed: float
    head_dim: int = 1
    kind: BudgetKind = "macs"
    runtime: Runtime | None = None
    dense: float | None = None

    @classmethod
    def linear(
        cls, costs: StructureCosts, kind: BudgetKind, *, dense: Widths, dense_price: float | None = None
    ) -> "PriceTable":
        """Tabulate a budget of ``macs``, ``params`` or ``sparsity`` up to the dense widths.

        Args:
            costs: of the model as it is cut.
            kind: what is counted.
            dense: the widest blocks.
            dense_price: see ``dense`` among the attributes.
        """
        prices = Prices.of(costs, kind, dense=dense_price)
        return cls(
            heads=tuple(float(prices.head * count) for count in range(max(dense.heads) + 1)),
            ffn=tuple(float(prices.neuron * count) for count in range(max(dense.ffn) + 1)),
            fixed=float(prices.fixed),
            head_dim=dense.head_dim,
            kind=prices.kind,
            dense=prices.dense,
        )

    @classmethod
    def measured(cls, table: LatencyTable) -> "PriceTable":
        """Take the milliseconds of a latency table."""
        return cls(
            heads=table.attention_ms,
            ffn=table.every_ffn_ms(),
            fixed=table.fixed_ms,
            head_dim=table.shape.head_dim,
            kind="latency",
            runtime=table.settings.runtime,
            dense=table.dense_ms,
        )

    def total(self, widths: Widths) -> float:
        """Return the price of a whole model; layers that are gone cost nothing."""
        attention = sum(self.heads[count] for count in widths.heads)
        return self.fixed + attention + sum(self.ffn[count] for count in widths.ffn)

    def of_dense(self, widths: Widths) -> float:
        """Return the price of the dense model, which has these widths: what a budget is a fraction of."""
        return self.total(widths) if self.dense is None else self.dense

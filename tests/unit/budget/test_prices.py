import pytest
import torch

from secateur.budget.cost import structure_costs
from secateur.budget.prices import Prices, PriceTable
from secateur.families import family_of
from secateur.families.structures import Widths
from secateur.models.surgery import widths_of
from tests.unit.pruning.tiny import tiny_model

KINDS = ("macs", "params", "sparsity")


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_a_linear_budget_agrees_with_its_unit_prices(kind):
    model = tiny_model()
    costs, dense = structure_costs(model, length=8), widths_of(model)
    units, table = Prices.of(costs, kind), PriceTable.linear(costs, kind, dense=dense)
    assert table.kind == units.kind == kind
    for widths in (dense, Widths(heads=(0, 3), ffn=(24, 0), head_dim=dense.head_dim)):
        assert table.total(widths) == units.total(widths)


def test_sparsity_counts_the_weights_of_the_encoders_linears():
    model = tiny_model()
    found = Prices.of(structure_costs(model, length=8), "sparsity").total(widths_of(model))
    weights = [linear.weight for layer in family_of(model).layers(model) for linear in layer.linears()]
    assert found == sum(torch.numel(weight) for weight in weights)


def test_time_has_no_price_per_unit():
    with pytest.raises(ValueError, match="not linear"):
        Prices.of(structure_costs(tiny_model(), length=8), "latency")

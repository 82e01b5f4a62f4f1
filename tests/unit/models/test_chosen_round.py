"""Which of the accepted models is deployed."""

import pytest

from secateur.models.card import Card
from secateur.models.chosen_round import chosen_round


def _card(left, *, promise=None, kind="latency"):
    asked = {kind: left} if promise is None else {"max_drop": promise}
    return Card(asked=asked, price=kind, achieved={kind: left, "max_drop": 0.0})


@pytest.mark.parametrize(
    ("rounds", "chosen"),
    [
        ((), "baseline"),
        ((_card(0.7, promise=0.005),), "r1"),
        ((_card(0.7, promise=0.005), _card(0.6, promise=0.01)), "r2"),
        ((_card(0.7, promise=0.005), _card(0.7, promise=0.01)), "r1"),
        ((_card(0.7, promise=0.005), _card(0.69, promise=0.01)), "r1"),
        ((_card(0.7, promise=0.005), _card(0.69, promise=0.01), _card(0.683, promise=0.02)), "r3"),
        ((_card(0.7, promise=0.01), _card(0.71, promise=0.01)), "r2"),
        ((_card(0.4, promise=0.005, kind="sparsity"), _card(0.3, promise=0.01, kind="sparsity")), "r1"),
        ((_card(0.4, promise=0.005, kind="sparsity"), _card(0.5, promise=0.01, kind="sparsity")), "r2"),
        ((_card(0.5), _card(0.5)), "r2"),
        ((_card(0.5, promise=0.01), _card(0.5)), "r2"),
        ((_card(0.5, promise=0.01), Card(asked={"max_drop": 0.02}, price="latency")), "r2"),
    ],
)
def test_a_larger_promise_must_pay(rounds, chosen):
    cards = {"baseline": Card()} | {f"r{number}": card for number, card in enumerate(rounds, start=1)}
    assert chosen_round(cards) == chosen


def test_a_round_that_is_only_to_be_looked_at_is_never_chosen():
    aside = Card(parameters={"prune.rounds.r2.deploy": False})
    assert chosen_round({"baseline": Card(), "r1": Card(), "r2": aside}) == "r1"
    assert chosen_round({"baseline": Card(), "r2": aside}) == "baseline"

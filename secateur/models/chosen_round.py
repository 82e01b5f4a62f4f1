"""Which of the accepted models is deployed: told by their cards, which know validation alone."""

from collections.abc import Mapping

from secateur.models.card import Card

_PAYS = 0.98
"""What a round that may lose more must have left of an earlier one's cost: times in a table differ by chance."""


def chosen_round(cards: Mapping[str, Card]) -> str:
    """Return the last model that pays for what it may lose.

    Each promise is looked for by itself, on a few hundred rows, so the round that may lose most can come out as large
    as one before it. Only promises are compared so: towards a size the later round is the smaller one, and a round
    that only recovers is as large as the one that it improves.

    Args:
        cards: of the accepted models in order, the dense one first: it stays where there is no other.
    """
    chosen = next(iter(cards))
    for name, card in cards.items():
        if not is_set_aside(name, card) and not buys_nothing(card, before=cards[chosen]):
            chosen = name
    return chosen


def is_set_aside(name: str, card: Card) -> bool:
    """Tell whether a round is to be looked at only (``deploy: false``)."""
    return card.parameters.get(f"prune.rounds.{name}.deploy") is False


def buys_nothing(card: Card, *, before: Card) -> bool:
    """Tell whether a round may lose more than one before it and is hardly smaller, in the unit of their budget."""
    promise, earlier = ((one.asked or {}).get("max_drop") for one in (card, before))
    cost, known = cost_left(card), cost_left(before)
    if promise is None or earlier is None or cost is None or known is None or card.price != before.price:
        return False
    return promise > earlier and cost > _PAYS * known


def cost_left(card: Card) -> float | None:
    """Return the fraction of dense that a round has left, in the unit of its budget; None where the card is silent."""
    found = (card.achieved or {}).get(card.price or "")
    if found is None:
        return None
    return 1.0 - found if card.price == "sparsity" else float(found)

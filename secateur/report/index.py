"""One page with the places to look at: what each is for, and where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.report.page import environment


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        name: what people call it.
        purpose: what one finds there.
        address: where it is; None when it is not there.
        note: whose it is, or why it is not there.
    """

    name: str
    purpose: str
    address: str | None
    note: str


def render_index(title: str, places: Sequence[Place]) -> str:
    """Return the page as HTML, self-contained, with every text in it escaped."""
    return environment().get_template("index.html.j2").render(title=title, places=places)

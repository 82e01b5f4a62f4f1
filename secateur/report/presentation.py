"""What a kind of task says about its results: the page, the terminal and the registry show them in its words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.report.scale import Scale

if TYPE_CHECKING:
    from secateur.report.results import ModelResult

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """A column of scores of the page's table.

    Attributes:
        name: in metrics.json, there perhaps with ``_low`` and ``_high``.
        title: over the column.
        write: a value, as the page shows it.
        note: below the title.
        write_end: an end of the interval; None writes it like a value.
        figure: what it is called among the key figures, and who found it; None where it is none of them.
    """

    name: str
    title: str
    write: Callable[[float], str]
    note: str = ""
    write_end: Callable[[float], str] | None = None
    figure: tuple[str, str] | None = None

    def ends(self, low: float, high: float) -> str:
        """Write an interval."""
        write = self.write_end or self.write
        return f"{write(low)}–{write(high)}"


@dataclass(frozen=True)
class Words:
    """What differs in sentences and headings; the defaults are those of an encoder that reads a text as a whole.

    Attributes:
        rows: what the test set is made of.
        call: what a time is of.
        time: over a column of them.
        figure: what the key figure of time is called.
        ms: their unit, over a column of the page.
        body: what is pruned.
        heads: of attention, that leave together.
        heads_lead: the same, explained at the beginning of a sentence.
        curve: the deciding score over the epochs.
        loss: its unit.
        lead: the first sentence of the results, with the places ``rows`` and ``interval``.
        timed: the second, where there are times.
        remark: below the table.
    """

    rows: str = "rows"
    call: str = "call"
    time: str = "time"
    figure: str = "Median time"
    ms: str = "ms"
    body: str = "encoder"
    heads: str = "Attention heads"
    heads_lead: str = "Heads"
    curve: str = "score"
    loss: str = "nats per row"
    lead: str = "Scores on {rows} test rows that no earlier stage has read; small print holds {interval} intervals."
    timed: str = "Times are medians, with the speed-up over dense on the same runtime below."
    remark: str = (
        "MACs are multiply-accumulates, counted from the shapes. “Encoder” leaves the embeddings out, which pruning "
        "does not touch. Percentages are of dense."
    )


@dataclass(frozen=True)
class Evaluated:
    """What sections are made of: the models, dense first, content of details.json, and the round the page is about."""

    results: "Sequence[ModelResult]"
    details: Json
    best: "ModelResult | None"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: of its address; the ``id`` of the ``section`` in it.
        title: in the list of sections.
        template: Jinja, escaped: it sees ``values``, and ``results``, ``accepted``, ``dense`` and ``best``.
        values: by name.
        style: CSS, in Jinja too.
    """

    anchor: str
    title: str
    template: str
    values: Json
    style: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the terminal's wide table: over it, and what stands in it of a row of ``comparison``."""

    title: str
    cell: Callable[[Json], str]


@dataclass(frozen=True)
class Compared:
    """Two registered versions on the same rows: in words, and examples where there are any."""

    said: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Simple:
    """What needs no model, and is measured beside the models.

    Attributes:
        said: of its scores and ``name``, one sentence for the terminal.
        remark: the same for the page: a few words to begin with, and the rest.
        row: what it is called in a row of its own in the page's table; None where it has none.
    """

    said: Callable[[Json], str]
    remark: Callable[[Json], tuple[str, str]]
    row: str | None = None


@dataclass(frozen=True)
class Presentation:
    """All that a kind says.

    Attributes:
        scale: how the deciding score is told.
        scores: the columns, the deciding one first.
        columns: of the wide table, between the costs and the verdict; it gets all rows, dense first.
        sections: of the page, between the training and the data.
        compared: what ``compare_models`` found, for people; it gets what the two are called.
        words: for everything else.
        symbol: after the deciding score, where models of several kinds stand in one list.
        simple: what needs no model; None where nothing is measured.
    """

    scale: Scale
    scores: tuple[Score, ...]
    columns: Callable[[Sequence[Json]], Sequence[Column]]
    sections: Callable[[Evaluated], Sequence[Section]]
    compared: Callable[[Json, Sequence[str]], Compared]
    words: Words = Words()
    symbol: str = ""
    simple: Simple | None = None

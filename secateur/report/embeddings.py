"""How embedding models are shown: neighbours that are kept, in points."""

from collections.abc import Iterator, Sequence

from secateur.report import columns, formats
from secateur.report.presentation import Column, Compared, Evaluated, Json, Presentation, Score, Section, Words
from secateur.report.scales import POINTS


def _columns(rows: Sequence[Json]) -> list[Column]:
    return [
        *columns.score_columns("recall_at_10", "recall@10", POINTS),
        Column("recall@1", columns.of("recall_at_1", "{:.4f}")),
        Column("rank corr.", columns.of("rank_correlation", "{:.4f}")),
        Column("deployed", columns.of("deployed_recall_at_10", "{:.4f}")),
        columns.size_column(),
        *columns.timed_columns(rows),
    ]


def _sections(shown: Evaluated) -> Iterator[Section]:
    return iter(())


def _compared(found: Json, names: Sequence[str]) -> Compared:
    return Compared("")


PRESENTATION = Presentation(
    scale=POINTS,
    scores=(
        Score("recall_at_10", "Recall@10", formats.score, note="of dense's neighbours"),
        Score("recall_at_1", "Recall@1", formats.score),
        Score("rank_correlation", "Rank correlation", formats.score),
    ),
    columns=_columns,
    sections=lambda shown: tuple(_sections(shown)),
    compared=_compared,
    words=Words(loss="1 - cosine to dense"),
)

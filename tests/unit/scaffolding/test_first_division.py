"""What a new project asks for where groups decide how many rows test."""

import pyarrow as pa

from secateur.config.part import parse_part
from secateur.data.assembly import Copied
from secateur.kinds.registry import kind_named
from secateur.readers.reading import reading_of
from secateur.scaffolding.first_division import FirstDivision, first_division
from secateur.scaffolding.params_text import Choice
from tests.tiny import sentences


def test_no_more_test_rows_are_asked_for_than_there_will_be() -> None:
    rows = sentences(120)
    table = pa.table(
        {
            "text": pa.array([text for text, _ in rows], pa.large_string()),
            "label": pa.array([label if number >= 20 else "rare" for number, (_, label) in enumerate(rows)]),
            "confidence": pa.nulls(len(rows), pa.float64()),
            "row": pa.array(range(len(rows)), pa.int64()),
            "group": pa.array([f"author {0 if number < 20 else 1 + number % 17}" for number in range(len(rows))]),
        }
    )
    ingest = {"source": "rows.csv", "label_column": "label", "group_column": "author"}
    config = parse_part("classification", {"ingest": ingest, "clean": {"min_test_rows": 24}})
    kind = kind_named("classification")
    found = first_division(Copied(table, {}, ()), reading_of(config.ingest, kind), config, kind=kind)
    assert found is not None and found.remarks and found.test_rows != 24, "groups have the sizes that they have"
    alone = parse_part("classification", {"ingest": {**ingest, "group_column": None}})
    share = reading_of(alone.ingest, kind)
    assert first_division(Copied(table.drop_columns("group"), {}, ()), share, alone, kind=kind) is None
    chosen = [Choice("promote.min_rows", 30), Choice("promote.slices.min_rows", 30), Choice("clean.min_test_rows", 30)]
    within = FirstDivision((), 18).within(chosen, asked={"promote.slices.min_rows"})
    assert [choice.value for choice in within] == [18, 30, 30]

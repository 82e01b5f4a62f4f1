"""A look at rows: script, lengths, and what cleaning will leave."""

import random

import pyarrow as pa
import pytest

from secateur.config.clean import CleanSection
from secateur.data import survey as module
from secateur.data.cleaning import clean_given_rows
from secateur.data.rules import row_rules_of
from secateur.data.scripts import script_of
from secateur.data.survey import first_look, survey
from secateur.errors import DataError
from secateur.readers.layout import Columns
from secateur.readers.pairs import as_text

COLUMNS = Columns(text="text", label="label", confidence=None)
RULES = row_rules_of(CleanSection(), COLUMNS)


def table(texts: list[str | None], labels: list[str | None]) -> pa.Table:
    count = len(texts)
    return pa.table(
        {
            "text": pa.array(texts, pa.large_string()),
            "label": pa.array(labels, pa.string()),
            "confidence": pa.nulls(count, pa.float64()),
            "row": pa.array(range(count), pa.int64()),
        }
    )


def sentences(count: int, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(f"{draw.randrange(10**9):x}" for _ in range(4)) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Die Straße ist naß", "Latin"),
        ("Это хороший день", "Cyrillic"),
        ("这家酒店的房间很干净 WiFi 也快", "Chinese or Japanese"),
        ("この部屋はとてもきれいです", "Chinese or Japanese"),
        ("방이 아주 깨끗해요", "Hangul"),
        ("καλημέρα", "Greek"),
        ("غرفة نظيفة", "Arabic"),
        ("12 :-) 34", "other"),
        ("", "other"),
        ("\ud800 half a pair", "Latin"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of([text]) == script


def test_a_small_table_is_counted_as_cleaning_will_leave_it() -> None:
    texts = sentences(100)
    rows = table([*texts, texts[0], texts[1].upper(), None, "  ", "x", "no label"], ["a", "b"] * 52 + ["a", None])
    seen = survey(rows, RULES, count_tokens=lambda texts: [len(text.split()) + 2 for text in texts])
    assert (seen.rows, seen.unusable, seen.repeated, seen.kept) == (106, 3, 2, 100)
    assert seen.labels == {"a": 50, "b": 50}
    assert seen.tokens is not None and (seen.tokens.median, seen.tokens.longest) == (6, 6)
    assert seen.tokens_per_word == 1.5
    assert not seen.is_estimate


def test_of_many_rows_a_part_is_cleaned_and_equal_ones_are_counted_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLEANED_ROWS", 2000)
    texts = sentences(5000)
    rows = [*texts, *texts]  # a part of them hardly meets a copy
    seen = survey(table(rows, ["a" if i % 4 else "b" for i in range(10_000)]), RULES)
    assert seen.is_estimate and seen.rows == 10_000 and seen.repeated == 5000
    assert seen.kept == pytest.approx(5000, rel=0.02)
    assert seen.labels["a"] == pytest.approx(3750, rel=0.05)


def test_a_label_that_cleaning_takes_is_told_with_its_rule() -> None:
    texts = [*sentences(20), "short", "no", "ha", "hm"]
    with pytest.raises(DataError, match=r"label 'c' has 1 row after cleaning.*clean.min_chars took 3 of 4 rows of 'c'"):
        survey(table(texts, ["a", "b"] * 10 + ["c"] * 4), RULES)


def test_rows_that_repeat_those_that_judge_are_not_counted() -> None:
    texts, labels = sentences(40), ["a", "b"] * 20
    judging = clean_given_rows(table(texts[30:], labels[30:]), RULES, num_proc=1)
    seen = survey(table(texts, labels), RULES, given={"test": judging})
    assert (seen.rows, seen.kept, dict(seen.given["test"])) == (40, 30, {"a": 5, "b": 5})
    with pytest.raises(DataError, match="of 10 rows to learn from 10 repeat rows that were given to judge"):
        survey(table(texts[30:], labels[30:]), RULES, given={"test": judging})


@pytest.mark.parametrize(("name", "parameter"), [("group", "ingest.group_column"), ("time", "ingest.time_column")])
def test_too_few_groups_or_times_are_refused_before_a_run(name: str, parameter: str) -> None:
    rows = table(sentences(40), ["a", "b"] * 20)
    two = pa.array([number % 2 for number in range(40)])
    rows = rows.append_column(name, two.cast(pa.string()) if name == "group" else two)
    with pytest.raises(DataError, match=f"{parameter} has 2 different values after cleaning; 3 parts need one each"):
        survey(rows, RULES)


def test_rows_without_any_text_are_refused() -> None:
    with pytest.raises(DataError, match="none of the 2 rows has a text and a label"):
        first_look(table(["", "x"], ["a", None]), labelled=True)


def test_of_pairs_both_lengths_are_told_that_of_a_text_and_that_of_what_the_model_reads() -> None:
    rows = table([as_text(("a" * 10, f"{number:030d}")) for number in range(40)], ["x", "y"] * 20)
    found = survey(rows, RULES, count_tokens=lambda texts: [len(text) for text in texts])
    assert (found.chars.low, found.chars.high) == (10, 30)
    assert found.together is not None
    assert (found.together.median, found.read_chars.median, found.units) == (40, 40, "pairs")
    alone = survey(table(sentences(40), ["x", "y"] * 20), RULES)
    assert (alone.together, alone.read_chars, alone.units) == (None, alone.chars, "texts")

"""Texts in shards on disk: the rows that stay, and all that is told of them, are those of texts in memory."""

import json
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data import parts
from secateur.data.cleaning import Cleaned, clean_given_rows, clean_rows
from secateur.data.parts import Part
from secateur.data.row_texts import ShardedTexts, sharded, written
from secateur.data.shards import PIECES, work_here
from secateur.data.stored_texts import Joined, StoredTexts, picked, write_texts
from tests.unit.data.test_cleaning import rules, table

WORDS = ["the", "driver", "flight", "was", "late", "again", "and", "nobody", "said", "why", "für", "Straße", "好", "店"]


def rows(num, *, seed):
    """Rows as they come: near copies, equal ones, empty ones, labels missing, links, handles and what is too short."""
    draw = random.Random(seed)
    found = []
    for _ in range(num):
        words = draw.choices(WORDS, k=draw.randint(6, 20))
        if found and draw.random() < 0.5:
            words = (draw.choice(found)[0] or "nothing").split()
            if words and draw.random() < 0.7:
                words[draw.randrange(len(words))] = draw.choice(WORDS)
        text = " ".join(words)
        if draw.random() < 0.1:
            text = draw.choice(
                ["", " ", None, "x", "@bob  at https://b.c " + text, text.upper(), "caf&eacute; " + text]
            )
        found.append((text, draw.choice(["a", "b", "c", None]), draw.random()))
    return found


def in_shards(raw, rules, count, folder, **options):
    """Clean rows whose texts lie in shards, after which nothing is left of these."""
    folder.mkdir(exist_ok=True)
    with sharded(count, work_here, state=folder) as sharding:
        names = written(raw["text"], sharding)
        assert len(names) == min(count, raw.num_rows)
        texts = ShardedTexts(names, rules.text, rules.alike, sharding)
        found = clean_rows(raw.drop_columns(["text"]), rules, num_proc=1, texts=texts, **options)
    assert not [*folder.iterdir()]
    return found


def assert_same(found, expected):
    assert [*found.texts] == [*expected.texts]
    assert found.labels == expected.labels
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.alike, expected.alike)
    assert found.effects == expected.effects


@pytest.mark.parametrize("count", [2, 3, 400])
@pytest.mark.parametrize(
    "options", [{}, {"threshold": 0.5}, {"threshold": 1.0}, {"max_share": 0.05, "min_confidence": 0.2}]
)
def test_the_same_rows_stay_for_the_same_reasons(tmp_path, count, options):
    raw, asked = table(rows(300, seed=1)), rules(**options)
    expected = clean_rows(raw, asked, num_proc=1)
    assert {e.rule for e in expected.effects if e.rows} >= {"empty_text", "missing_label", "min_chars", "mask_links"}
    assert len(expected.texts) < 200
    assert_same(in_shards(raw, asked, count, tmp_path / "state"), expected)


def test_rows_that_judge_are_kept_apart_as_well(tmp_path):
    every = rows(300, seed=2)
    judging = clean_given_rows(table([row for row in every[:60] if row[1]]), rules(), num_proc=1)
    raw = table(every[40:])
    expected = clean_rows(raw, rules(), num_proc=1, apart_from=(judging,))
    assert {"given_texts", "given_near_copies"} <= {e.rule for e in expected.effects if e.rows}
    assert_same(in_shards(raw, rules(), 3, tmp_path / "state", apart_from=(judging,)), expected)


def test_pairs_and_their_shorter_text(tmp_path):
    pairs = [
        (f"{WORDS[i % 12]} number {i} of a few\ufdd0{'no' if i % 5 else 'yes, of course'}", "ab"[i % 2])
        for i in range(40)
    ]
    raw, asked = table(pairs), rules(min_chars=4)
    expected = clean_rows(raw, asked, num_proc=1)
    assert {e.rule: e.rows for e in expected.effects}["min_chars"] == 32
    assert_same(in_shards(raw, asked, 2, tmp_path / "state"), expected)


def test_a_piece_done_twice_leaves_the_same_files(tmp_path):
    write_texts(tmp_path / "s" / "came", ["one text", "", "another  text"])
    asked = {"shard": "s", "rules": vars(rules().text), "sign": {"num_chars": 5, "rows_in_band": 5}}
    before: dict[str, bytes] = {}
    for _ in range(2):
        PIECES["clean"](tmp_path, **json.loads(json.dumps(asked)))
        after = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        assert not before or after == before
        before = after
    assert {"words.npy", "digests.npy", "signatures.npy", "keys.npy"} <= {file.rpartition("/")[2] for file in before}


def test_what_a_killed_run_left_does_not_count(tmp_path):
    left = tmp_path / "shards" / "shard-0000" / "cleaned"
    left.mkdir(parents=True)
    with sharded(2, work_here, state=tmp_path) as sharding:
        assert sharding is not None
        assert not [*sharding.folder.iterdir()]
    with sharded(1, work_here, state=tmp_path) as sharding:
        assert sharding is None


def test_texts_are_read_as_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.data.stored_texts._AT_ONCE", 3)
    texts = ["", "a", "größer", "好店", "\U0001f600 b", "last", "", "z"]
    for name, part in (("x", texts[:3]), ("empty", []), ("y", texts[3:])):
        write_texts(tmp_path / name, part)
    stored = StoredTexts([tmp_path / name for name in ("x", "empty", "y")])
    assert [*stored] == texts == [stored[i] for i in range(len(stored))]
    some = picked(stored, np.array([1, 2, 4, 7]))
    assert [*some] == ["a", "größer", "\U0001f600 b", "z"]
    assert (some[2], [*some[1:3]], [*picked(some, np.array([0, 3]))]) == (texts[4], [texts[2], texts[4]], ["a", "z"])
    joined = Joined([some, [], ["more"]])
    assert ([*joined], joined[4], joined[-5], len(joined)) == ([*some, "more"], "more", "a", 5)
    with pytest.raises(IndexError):
        joined[5]


@pytest.mark.parametrize("num_rows", [0, 5, 1000, 1001, 2500])
def test_a_part_that_is_written_by_groups_has_the_bytes_of_one_that_is_written_at_once(tmp_path, monkeypatch, num_rows):
    monkeypatch.setattr(parts, "_ROW_GROUP", 1000)
    write_texts(tmp_path / "texts", (f"text {i * i} of {i}" for i in range(3000)))
    stored, chosen = StoredTexts([tmp_path / "texts"]), np.arange(3000)[:: max(1, 3000 // max(1, num_rows))][:num_rows]
    cleaned = Cleaned(stored, ["a"] * 3000, np.arange(3000) + 7, np.arange(3000), None, ())
    part = Part(cleaned, np.arange(3000) % 3, chosen)
    part.write(tmp_path / "by groups.parquet")
    replace(part, cleaned=replace(cleaned, texts=[*stored])).write(tmp_path / "in memory.parquet")
    at_once = pa.table(
        {
            "text": pa.array([stored[i] for i in chosen.tolist()], pa.string()),
            "label": pa.array(chosen % 3),
            "row": pa.array(chosen + 7, pa.int64()),
        }
    )
    pq.write_table(at_once, tmp_path / "at once.parquet", compression="zstd", row_group_size=1000)
    expected = (tmp_path / "at once.parquet").read_bytes()
    assert (tmp_path / "by groups.parquet").read_bytes() == expected
    assert (tmp_path / "in memory.parquet").read_bytes() == expected

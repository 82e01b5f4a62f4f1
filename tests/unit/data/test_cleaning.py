import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data.cleaning import RowRules, clean_given_rows, clean_rows
from secateur.data.near_duplicates import jaccard
from secateur.data.text_rules import TextRules
from secateur.errors import DataError

TEXT = TextRules(repair_encoding=True, normalization="NFKC", mask_handles=True, mask_links=True, max_chars=100)


def rules(*, min_chars=3, min_confidence=None, label_conflicts="majority", threshold=0.8, max_share=1.0):
    return RowRules(
        text=TEXT,
        min_chars=min_chars,
        min_confidence=min_confidence,
        label_conflicts=label_conflicts,
        near_duplicate_threshold=threshold,
        near_duplicate_max_share=max_share,
    )


def table(rows):
    texts, labels, confidence = zip(*((*row, None)[:3] for row in rows), strict=True)
    return pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "label": pa.array(labels, pa.string()),
            "confidence": pa.array(confidence, pa.float64()),
            "row": pa.array(range(100, 100 + len(rows)), pa.int64()),
        }
    )


def kept(rows, **options):
    cleaned = clean_rows(table(rows), rules(**options), num_proc=1)
    return list(zip(cleaned.rows.tolist(), cleaned.texts, cleaned.labels, strict=True))


def dropped(rows, **options):
    effects = clean_rows(table(rows), rules(**options), num_proc=1).effects
    return {e.rule: e.rows for e in effects if e.effect == "dropped" and e.rows}


def test_rows_keep_their_number_and_their_order():
    rows = [("first text", "a"), (" \t", "a"), (None, "b"), ("no label", None), ("x", "b"), ("last  one", "b")]
    assert kept(rows) == [(100, "first text", "a"), (105, "last one", "b")]
    assert dropped(rows) == {"empty_text": 2, "missing_label": 1, "min_chars": 1}


def test_doubtful_rows_go_when_there_is_a_confidence():
    rows = [("sure thing", "a", 0.5), ("not so sure", "a", 0.4), ("nobody said", "b", None)]
    assert [row for row, *_ in kept(rows, min_confidence=0.5)] == [100]
    assert [row for row, *_ in kept(rows, min_confidence=0.0)] == [100, 101, 102]
    assert [row for row, *_ in kept(rows, min_confidence=None)] == [100, 101, 102]


CONFLICT = [
    ("The plane was late", "bad"),
    ("the plane was LATE", "good"),
    ("the plane was late", "good"),
    ("never seen before", "bad"),
    ("Half and half", "bad"),
    ("half and half", "good"),
]


def test_the_majority_decides_and_a_tie_drops_all():
    assert kept(CONFLICT) == [(101, "the plane was LATE", "good"), (103, "never seen before", "bad")]
    assert dropped(CONFLICT) == {"label_conflicts": 3, "exact_duplicates": 1}


def test_conflicts_can_all_be_dropped():
    assert kept(CONFLICT, label_conflicts="drop") == [(103, "never seen before", "bad")]
    assert dropped(CONFLICT, label_conflicts="drop") == {"label_conflicts": 5}


def test_of_nearly_equal_rows_the_first_stays():
    rows = [("waiting two hours for my bag at gate nine http://a.b/c", "a"), ("something else entirely", "b")]
    rows += [("waiting two hours for my bag at gate nine http://x.y/z !", "a")]
    assert [row for row, *_ in kept(rows)] == [100, 101]
    assert dropped(rows) == {"near_duplicates": 1}
    assert len(kept(rows, threshold=1.0)) == 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text("abc d", max_size=14), st.sampled_from("xy")), max_size=25), st.sampled_from([0.3, 1.0])
)
def test_rows_that_stay_are_nearly_equal_only_within_a_group(rows, max_share):
    rows = [*rows, ("a row that stays whatever comes", "x")]
    cleaned = clean_rows(table(rows), rules(max_share=max_share), num_proc=1)
    texts = [text.casefold() for text in cleaned.texts]
    for i, a in enumerate(texts):
        for j, b in enumerate(texts[:i]):
            if jaccard(a, b) >= 0.8:
                assert cleaned.alike[i] == cleaned.alike[j]
    for group in set(cleaned.alike.tolist()):
        members = np.flatnonzero(cleaned.alike == group)
        assert max_share < 1 or len(members) == 1 or len({cleaned.labels[i] for i in members}) == 2


LETTER = "About my order {}: the page says that the parcel has been {}, regards, customer {} of your shop"


def test_a_form_letter_whose_deciding_word_differs_keeps_its_rows():
    labels = {"fine": "praise", "fire": "damage", "find": "loss"}
    rows = [(LETTER.format(1000 + i, word, 10 + i), labels[word]) for i in range(10) for word in labels]
    cleaned = clean_rows(table(rows), rules(), num_proc=1)
    assert len(cleaned.texts) == 30
    assert len(set(cleaned.alike.tolist())) == 1
    spared = [e.rows for e in cleaned.effects if (e.rule, e.effect) == ("near_duplicates", "kept")]
    assert spared == [30]


def test_a_label_whose_texts_all_look_alike_keeps_them():
    rows = [
        (f"the pump of building {i} is in critical state, no further action is needed", "critical") for i in range(9)
    ]
    rows += [(text, "normal") for text, _ in (("one text", 0), ("and another", 0), ("quite different", 0))]
    rows += [("a message that somebody has sent twice, it seems", "normal")]
    rows += [("a message that somebody has sent twice, it seems!", "normal")]
    assert len(kept(rows, max_share=0.3)) == 13
    assert dropped(rows, max_share=0.3) == {"near_duplicates": 1}
    assert dropped(rows, max_share=1.0) == {"near_duplicates": 9}


def test_copies_with_one_label_go_beside_those_with_several():
    rows = [("the pump in hall one reports a pressure that is fine", "calm")]
    rows += [("the pump in hall one reports a pressure that is fire", "alarm")]
    rows += [(f"your ticket number {i} was closed by the team on duty today", "calm") for i in (1, 2, 3)]
    assert [row for row, *_ in kept(rows)] == [100, 101, 102]
    assert dropped(rows) == {"near_duplicates": 2}


def test_examples_show_a_row_as_the_rule_met_it():
    effects = {e.rule: e for e in clean_rows(table([("@bob  at http://b.c", "a")]), rules(), num_proc=1).effects}
    shown = effects["mask_links"].examples[0]
    assert (shown.before, shown.after, shown.label) == ("@user at http://b.c", "@user at http", "a")
    assert effects["repair_encoding"].rows == 0


def test_when_nothing_is_left_the_greediest_rule_is_named():
    rows = [("ab", "x"), ("cd", "x"), ("", "y")]
    with pytest.raises(DataError, match=r"no row is left .* dropped all 3, most of them by the rule min_chars \(2\)"):
        kept(rows)


BAG = "waiting two hours for my bag at gate nine of the airport"


def given_to_judge(rows, **options):
    return clean_given_rows(table(rows), rules(**options), num_proc=1)


def test_near_copies_of_rows_that_judge_go_from_what_is_learned():
    test = given_to_judge([(BAG, "a"), ("a quiet flight with nothing to tell of", "b")])
    rows = [(BAG + "!", "a"), ("something else entirely", "b"), ("A QUIET flight with nothing to tell of", "b")]
    cleaned = clean_rows(table(rows), rules(), num_proc=1, apart_from=(test,))
    assert cleaned.texts == ["something else entirely"]
    assert {e.rule: e.rows for e in cleaned.effects if e.effect == "dropped" and e.rows} == {
        "given_texts": 1,
        "given_near_copies": 1,
    }
    exact = clean_rows(table(rows), rules(threshold=1.0), num_proc=1, apart_from=(test,))
    assert len(exact.texts) == 2


def test_a_form_letter_stays_beside_rows_that_judge_whose_deciding_word_differs():
    labels = {"fine": "praise", "fire": "damage", "find": "loss"}
    rows = [(LETTER.format(1000 + i, word, 10 + i), labels[word]) for i in range(10) for word in labels]
    test = given_to_judge(rows[:6])
    cleaned = clean_rows(table(rows[6:]), rules(), num_proc=1, apart_from=(test,))
    assert len(cleaned.texts) == 24
    assert next(e.rows for e in cleaned.effects if e.rule == "given_near_copies" and e.effect == "kept") == 24


def test_a_label_that_always_looks_alike_keeps_its_rows_beside_those_that_judge():
    pump = "the pump of building {} is in critical state, no further action is needed"
    test = given_to_judge([(pump.format(100), "critical")])
    rows = [(pump.format(i), "critical") for i in range(9)] + [("quite different", "normal"), ("and more", "normal")]
    assert len(clean_rows(table(rows), rules(max_share=0.3), num_proc=1, apart_from=(test,)).texts) == 11
    assert len(clean_rows(table(rows), rules(max_share=1.0), num_proc=1, apart_from=(test,)).texts) == 2


def test_groups_of_rows_that_judge_teach_nothing():
    def by_author(rows):
        texts, labels, authors = zip(*rows, strict=True)
        return table(list(zip(texts, labels, strict=True))).append_column("group", pa.array(authors, pa.string()))

    test = clean_given_rows(by_author([("one text of anna", "a", "anna")]), rules(), num_proc=1)
    rows = [("quite another one", "b", "anna"), ("something of bert", "a", "bert"), ("by nobody known", "b", None)]
    cleaned = clean_rows(by_author(rows), rules(), num_proc=1, apart_from=(test,))
    assert cleaned.groups == ["bert", None]
    assert next(e.rows for e in cleaned.effects if e.rule == "given_groups") == 1

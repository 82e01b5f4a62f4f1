import numpy as np
import pytest

from secateur.data.cleaning import Cleaned
from secateur.data.rare_labels import without_rare
from secateur.readers.label_spelling import LabelRules

LABELS = [*"aaaabbbbccd"]


def cleaned(labels):
    rows = np.arange(len(labels))
    return Cleaned([f"text {i}" for i in rows], labels, rows + 100, alike=rows, groups=None, effects=())


def settled(how, *, rows=3, test="abd"):
    rules = LabelRules(rare_labels=how, rare_label_rows=rows)
    left, given, told = without_rare(cleaned(LABELS), {"test": cleaned([*test])}, rules)
    return left, given["test"], told


def test_rare_labels_are_left_to_the_refusal_unless_asked():
    left, test, told = settled("refuse", rows=9)
    assert (left.labels, test.labels, told) == (LABELS, [*"abd"], ())


def test_rare_labels_go_with_their_rows_also_from_those_that_judge():
    left, test, told = settled("drop")
    assert (left.labels, left.rows.tolist()) == ([*"aaaabbbb"], list(range(100, 108)))
    assert (test.labels, test.texts) == (["a", "b"], ["text 0", "text 1"])
    assert told == ("labels of fewer than 3 rows are left out by ingest.rare_labels: 'c' (2), 'd' (1)",)
    assert [(e.rule, e.effect, e.rows, e.labels) for e in left.effects] == [
        ("rare_labels", "dropped", 3, {"c": 2, "d": 1})
    ]


def test_rare_labels_become_one():
    left, test, told = settled("merge")
    assert left.labels == [*"aaaabbbb", "other", "other", "other"] and len(left.texts) == 11
    assert test.labels == ["a", "b", "other"]
    assert told == ("labels of fewer than 3 rows are one label, 'other', by ingest.rare_labels: 'c' (2), 'd' (1)",)


@pytest.mark.parametrize("how", ["drop", "merge"])
def test_a_label_that_judges_and_of_which_nothing_is_left_to_learn_is_rare(how):
    _, test, told = settled(how, test="abz")
    assert test.labels == (["a", "b"] if how == "drop" else ["a", "b", "other"])
    assert told[0].endswith("'c' (2), 'd' (1), 'z' (0)")

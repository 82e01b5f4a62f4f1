import json

import numpy as np

from secateur.data.data_report import MAX_EXAMPLES, Example, effect_on, histogram, to_json_value


def example(row):
    return Example(f"before {row}", None, "a")


def test_examples_are_few_and_spread_over_the_rows():
    rows = np.arange(0, 1000, 5)
    effect = effect_on("min_chars", "dropped", rows, example)
    assert effect.rows == 200 and len(effect.examples) == MAX_EXAMPLES
    assert (effect.examples[0].before, effect.examples[-1].before) == ("before 0", "before 995")
    assert len(effect_on("min_chars", "dropped", rows[:3], example).examples) == 3
    assert effect_on("min_chars", "dropped", rows[:0], example).examples == ()


def test_every_length_is_counted_once():
    lengths = np.array([1, 2, 2, 39, 40, 5000])
    counted = histogram(lengths)
    assert len(counted["edges"]) == len(counted["counts"]) + 1
    assert sum(counted["counts"]) == 6
    assert counted["edges"][-1] == 5001
    assert histogram(np.array([7]))["counts"].index(1) == 7


def test_the_report_is_plain_json():
    value = to_json_value(
        source={"kind": "file"},
        num_read=9,
        num_kept=5,
        labels=["a", "b"],
        parts={"train": np.array([0, 1, 1]), "test": np.array([0, 0])},
        effects=[effect_on("min_chars", "dropped", np.array([4]), example)],
        lengths=np.array([5, 6]),
    )
    assert json.loads(json.dumps(value)) == value
    assert value["rows"] == {"read": 9, "kept": 5, "train": 3, "test": 2}
    assert value["labels"] == {"a": {"train": 1, "test": 2}, "b": {"train": 2, "test": 0}}
    assert value["rules"] == [
        {
            "rule": "min_chars",
            "effect": "dropped",
            "rows": 1,
            "examples": [{"before": "before 4", "after": None, "label": "a"}],
        }
    ]

import shutil
from pathlib import Path

import pytest

from secateur.files import write_json
from secateur.workflow.remarks import remarks

_EXTENDED = {"asked_epochs": 1.2, "min_steps": 300, "epochs": 15.8, "steps": 300}


@pytest.mark.parametrize(
    ("address", "card", "section"),
    [
        ("baseline", {"training": _EXTENDED}, "baseline"),
        ("prune@r2", {"training": _EXTENDED, "tried": None}, "prune.recovery"),
        ("prune@r2", {"accepted": False, "tried": {"training": _EXTENDED}}, "prune.recovery"),
    ],
)
def test_a_floor_under_the_steps_is_told(tmp_path, address, card, section):
    write_json(tmp_path / "models" / address.removeprefix("prune@") / "card.json", card)
    assert remarks(tmp_path, address) == (
        f"trained for 300 steps ({section}.min_steps), 15.8 epochs of so few rows; epochs=1.2 would be fewer",
    )


def test_an_early_end_is_told(tmp_path):
    write_json(tmp_path / "models/baseline/card.json", {"training": _EXTENDED | {"ended": 100}})
    assert remarks(tmp_path, "baseline") == (
        "trained for 100 of 300 steps, 5.3 epochs: neither the loss nor the score on validation got better any more",
    )


def test_what_came_out_as_asked_is_not_told(tmp_path):
    write_json(tmp_path / "models/baseline/card.json", {"training": _EXTENDED | {"epochs": 1.2}})
    assert remarks(tmp_path, "baseline") == ()
    assert remarks(tmp_path, "ingest") == ()


def test_what_reading_and_cleaning_found_is_told_right_after_them(tmp_path):
    write_json(tmp_path / "data/raw/provenance.json", {"remarks": ["labels that look alike: ..."]})
    write_json(tmp_path / "reports/data.json", {"remarks": ["9 of 10 rows stay"], "rows": {"train": 200}})
    write_json(tmp_path / "models/baseline/card.json", {"cut_texts": 58, "max_length": 64})
    assert remarks(tmp_path, "ingest") == ("labels that look alike: ...",)
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    assert remarks(tmp_path, "clean")[0] == "9 of 10 rows stay"
    assert remarks(tmp_path, "baseline") == (
        "58 of 200 training texts (29.0%) were cut at baseline.max_length=64 tokens: what stands behind is not read",
    )


@pytest.mark.parametrize(("score", "told"), [(0.3333, True), (0.3349, False), (0.9, False)])
def test_a_dense_model_that_gives_every_text_the_same_label_is_told(tmp_path, score, told):
    labels = {name: {"train": 48, "validation": 16, "test": 16} for name in ("no", "yes")}
    write_json(tmp_path / "reports/data.json", {"labels": labels, "rows": {"train": 96}})
    write_json(
        tmp_path / "models/baseline/card.json", {"task": "classification", "metrics": {"validation_macro_f1": score}}
    )
    found = remarks(tmp_path, "baseline")
    assert bool(found) is told
    if told:
        assert found[0].startswith(
            "it has learned nothing: macro-F1 0.3333 on validation, and the same answer for every"
        )

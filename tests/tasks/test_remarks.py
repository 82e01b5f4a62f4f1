import pytest

from secateur.files import write_json
from tasks.remarks import remarks

_EXTENDED = {"asked_epochs": 1.2, "min_steps": 300, "epochs": 15.8, "steps": 300}


@pytest.mark.parametrize(
    ("address", "card", "section"),
    [
        ("baseline", {"training": _EXTENDED}, "baseline"),
        ("prune@r2", {"training": _EXTENDED, "tried": None}, "prune.recovery"),
        ("prune@r2", {"tried": {"training": _EXTENDED}}, "prune.recovery"),
    ],
)
def test_a_floor_under_the_steps_is_told(tmp_path, address, card, section):
    write_json(tmp_path / "models" / address.removeprefix("prune@") / "card.json", card)
    assert remarks(tmp_path, address) == (
        f"trained for 300 steps ({section}.min_steps), 15.8 epochs of so few rows; epochs=1.2 asked for less",
    )


def test_what_came_out_as_asked_is_not_told(tmp_path):
    write_json(tmp_path / "models/baseline/card.json", {"training": _EXTENDED | {"epochs": 1.2}})
    assert remarks(tmp_path, "baseline") == ()
    assert remarks(tmp_path, "ingest") == ()

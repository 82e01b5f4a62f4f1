import csv
import shutil

import pytest

from secateur.errors import BudgetError
from secateur.evaluation.cost import encoder_macs
from secateur.files import sha256_file, write_json
from secateur.models.checkpoint import load, read_card, verify
from secateur.models.surgery import widths_of
from tests.tasks.stage_chain import PRUNE, run_baseline, run_round, write_inputs

_NO_TRAINING = PRUNE.model_copy(update={"recovery": PRUNE.recovery.model_copy(update={"epochs": 0.0})})
_IMPOSSIBLE = _NO_TRAINING.model_copy(update={"max_drop": 0.0, "criterion": "magnitude"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("rounds")
    write_inputs(root)
    run_baseline(root)
    run_round(root, "r1", "baseline")
    run_round(root, "r2", "r1")
    return root


@pytest.fixture
def root(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def card_of(root, name):
    return read_card(root / "models" / name)


def test_rounds_meet_the_schedule(finished):
    dense = encoder_macs(load(finished / "models/baseline"), 32)
    for name, target in (("r1", 0.75), ("r2", 0.5)):
        card, model = card_of(finished, name), load(finished / "models" / name)
        assert card["asked"] == {"macs": target}
        # One head or one block of neurons is up to 0.1 of this tiny model.
        assert target - 0.1 < card["achieved"]["macs"] <= target
        assert card["achieved"]["macs"] == pytest.approx(encoder_macs(model, 32) / dense)
        assert card["widths"] == widths_of(model).as_dict()
        assert card["dense_widths"] == {"heads": [4, 4], "ffn": [64, 64], "head_dim": 8}
        assert all(width % 8 == 0 for width in card["widths"]["ffn"])
        assert (card["stage"], card["key"], card["state"]) == (f"prune@{name}", f"key-of-{name}", "recovered")
        assert card["accepted"] is True
        assert card["inputs"] == {"prev": "0123"}
        verify(finished / "models" / name)


def test_the_curve_starts_right_after_the_cut(finished):
    with (finished / "r1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 6]
    assert rows[0]["train_loss"] == ""


def test_same_inputs_same_bytes(root):
    before = {
        name: sha256_file(root / name) for name in ("models/r1/model.safetensors", "models/r1/card.json", "r1.csv")
    }
    run_round(root, "r1", "baseline")
    assert {name: sha256_file(root / name) for name in before} == before


def test_a_budget_of_everything_without_training_changes_no_bit(root):
    whole = _NO_TRAINING.model_copy(update={"budget": PRUNE.budget.model_copy(update={"macs": 1.0})})
    run_round(root, "r1", "baseline", settings=whole)
    assert card_of(root, "r1")["weights_sha256"] == card_of(root, "baseline")["weights_sha256"]
    assert card_of(root, "r1")["accepted"] is True


def test_below_the_floor_the_round_is_rolled_back_and_later_ones_pass_through(root):
    # A floor above every score: whether a cut of so tiny a model loses anything is a matter of luck.
    dense = card_of(root, "baseline")
    dense["metrics"]["validation_macro_f1"] = 1.1
    write_json(root / "models/baseline/card.json", dense)
    run_round(root, "r1", "baseline", settings=_IMPOSSIBLE)
    r1 = card_of(root, "r1")
    assert r1["weights_sha256"] == dense["weights_sha256"]
    assert (r1["accepted"], r1["stopped"], r1["state"]) == (False, True, "dense")
    assert r1["reason"].startswith("r1 was rolled back: validation macro-F1 ")
    assert "is below the floor of" in r1["reason"]
    assert r1["widths"] == dense["widths"]
    assert r1["metrics"] == dense["metrics"]
    assert r1["tried"]["achieved"]["macs"] <= 0.75
    assert set(r1["tried"]["metrics"]) == {"validation_loss", "validation_accuracy", "validation_macro_f1"}

    run_round(root, "r2", "r1", settings=_IMPOSSIBLE)
    r2 = card_of(root, "r2")
    assert r2["weights_sha256"] == dense["weights_sha256"]
    assert (r2["accepted"], r2["stopped"], r2["tried"]) == (False, True, None)
    assert r2["reason"] == r1["reason"]
    assert len((root / "r2.csv").read_text().splitlines()) == 1
    verify(root / "models/r2")


def test_an_unreachable_budget_is_refused(root):
    tiny = PRUNE.model_copy(update={"budget": PRUNE.budget.model_copy(update={"macs": 0.01})})
    with pytest.raises(BudgetError, match=r"0\.01 is not reachable.*ask for 0\.\d+ or more"):
        run_round(root, "r2", "r1", settings=tiny)

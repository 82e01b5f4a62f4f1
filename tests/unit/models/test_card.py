import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secateur.errors import CheckpointError
from secateur.files import to_json
from secateur.models.card import Card, read_card, write_card

WIDTHS = {"heads": [2, 1], "ffn": [8, 5], "head_dim": 4}
DENSE = {
    "stage": "baseline", "key": "ab" * 32, "task": "classification", "state": "dense",
    "parameters": {"run.seed": 0, "baseline.epochs": 1.0}, "inputs": {"train": "abc"}, "seed": 0,
    "fingerprint": {"torch": "2"}, "labels": ["bad", "good"], "max_length": 64, "cut_texts": 3,
    "text_rules": {"repair_encoding": True, "max_chars": 1000}, "widths": WIDTHS, "dense_widths": WIDTHS, "asked": None,
    "achieved": None, "training": {"steps": 10, "epochs": 1.0}, "metrics": {"validation_macro_f1": 1, "loss": 0.5},
    "accepted": True, "stopped": False, "reason": None, "tried": None,
    "files": {"model.safetensors": "0" * 64}, "weights_sha256": "1" * 64,
}  # fmt: skip
"""As 0.4 writes it."""

BEFORE = {key: value for key, value in DENSE.items() if key not in ("text_rules", "training", "cut_texts")}
"""As 0.2 wrote it."""

ROLLED_BACK = DENSE | {
    "stage": "prune@r1", "accepted": False, "stopped": True, "reason": "r1 was rolled back", "asked": {"macs": 0.5},
    "price": "macs", "kept": {"layers": [0, 1], "heads": [[0], [1]], "ffn": [[], [3]]}, "features": [0, 2],
    "tries": [{"target": 0.5, "metrics": {"validation_macro_f1": 0.2}, "accepted": False}], "probes": [],
    "tried": {"widths": WIDTHS, "achieved": {"macs": 0.49}, "metrics": {"validation_macro_f1": 0.2}, "another": [1]},
}  # fmt: skip
EXPORT = DENSE | {"runtime": "padded", "source_weights_sha256": "2" * 64}
GENERATOR = DENSE | {"task": "generation", "control": {"bad": "<|bad|>"}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("values", [DENSE, BEFORE, ROLLED_BACK, EXPORT, GENERATOR, {}, {"stage": "prune@r1"}])
def test_what_is_read_is_written_with_the_same_bytes(values):
    assert to_json(Card.of(json.loads(to_json(values))).as_json()) == to_json(values)


@given(st.dictionaries(st.text().map("x-{}".format), JSON))
def test_what_a_later_version_adds_is_kept(values):
    assert to_json(Card.of(DENSE | values).as_json()) == to_json(DENSE | values)


def test_a_changed_field_is_the_only_one_that_changes():
    card = Card.of(ROLLED_BACK)
    assert to_json(card.changed(reason=None, runtime="onnx").as_json()) == to_json(
        ROLLED_BACK | {"reason": None, "runtime": "onnx"}
    )
    assert card.reason == "r1 was rolled back"


def test_nothing_can_be_set():
    with pytest.raises(ValidationError, match="frozen"):
        Card.of(DENSE).stage = "other"


def test_a_field_that_is_left_out_has_its_default():
    card = Card()
    assert (card.accepted, card.stopped, dict(card.control), card.files) == (True, False, {}, {})
    assert card.as_json() == {}
    assert card.given("control") == {}
    assert Card(control={}).given("control", "stage") == {"control": {}}


def test_what_a_round_came_to_is_what_it_tried():
    assert Card.of(ROLLED_BACK).came_to.achieved == {"macs": 0.49}
    assert Card.of(DENSE).came_to.weights_sha256 == "1" * 64
    never_ran = Card.of(ROLLED_BACK | {"tried": None}).came_to
    assert (never_ran.achieved, dict(never_ran.metrics), never_ran.widths) == (None, {}, None)


def test_a_value_of_another_type_is_named_in_one_line():
    with pytest.raises(
        CheckpointError, match=r"^models/r1/card.json: metrics.validation_macro_f1.*cannot be read"
    ) as said:
        Card.of(DENSE | {"metrics": {"validation_macro_f1": "good"}}, where="models/r1/card.json")
    assert "\n" not in str(said.value)


def test_a_card_is_written_with_the_digests_of_the_files_beside_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.txt").write_text("b")
    write_card(tmp_path, Card.of({"stage": "prune@r1", "files": {"gone": "1"}}))
    card = Card.read(tmp_path)
    assert list(card.files) == ["a/b.txt"]
    assert read_card(tmp_path) == card.as_json()


def test_no_card_is_an_empty_one_only_where_that_is_asked_for(tmp_path):
    assert Card.found_in(tmp_path) == Card()
    with pytest.raises(CheckpointError, match=r"it has no card\.json"):
        Card.read(tmp_path)
    (tmp_path / "card.json").write_text('{"stage": "baseline"}')
    assert Card.found_in(tmp_path).stage == "baseline"
    with pytest.raises(CheckpointError, match="names no files"):
        Card.read(tmp_path)
    (tmp_path / "card.json").write_text("[")
    with pytest.raises(CheckpointError, match="is not JSON"):
        Card.found_in(tmp_path)


def test_a_stage_is_told_which_fact_is_missing():
    with pytest.raises(CheckpointError, match=r"the card\.json of prune@r1 gives no max_length"):
        Card(stage="prune@r1").require_max_length()


def test_reading_a_card_needs_no_torch():
    code = "import sys, secateur.models.card; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

from pathlib import Path

import pytest
import torch

from secateur.errors import CheckpointError
from secateur.families.structures import Kept, Masks
from secateur.models.card import Card
from secateur.models.surgery import widths_of
from secateur.pruning.state import State
from secateur.pruning.state_files import SUPPRESSED, read_state, write_state
from secateur.pruning.weights.mask_files import MASKS
from secateur.pruning.weights.matrices import WeightMasks, prunable
from tests.tiny_models import some_masks
from tests.unit.pruning.tiny import tiny_model

MODEL = tiny_model()
WEIGHTS = WeightMasks({name: linear.weight.detach() > 0 for name, linear in prunable(MODEL).items()})


def state(**changes) -> State:
    return State(**{"kept": Kept.all(widths_of(MODEL)), **changes})


def test_a_card_that_says_nothing_belongs_to_a_dense_model(tmp_path: Path):
    assert read_state(tmp_path, MODEL, card=Card.of({})) == State.dense(widths_of(MODEL))


def test_a_state_without_masks_writes_no_file(tmp_path: Path):
    write_state(tmp_path, state(features=(0, 3)))
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read(tmp_path: Path):
    kept = Kept(layers=(1,), heads=((0, 2),), ffn=((),))
    suppressed = some_masks(MODEL)
    write_state(tmp_path, state(suppressed=suppressed, weights=WEIGHTS))
    assert {path.name for path in tmp_path.iterdir()} == {SUPPRESSED, MASKS}
    found = read_state(tmp_path, MODEL, card=Card.of({"kept": kept.as_dict(), "features": [1, 5]}))
    assert found.kept == kept
    assert found.features == (1, 5)
    assert isinstance(found.suppressed, Masks)
    for ours, theirs in ((suppressed.heads, found.suppressed.heads), (suppressed.ffn, found.suppressed.ffn)):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert found.weights is not None
    assert found.weights.matrices.keys() == WEIGHTS.matrices.keys()
    assert all(torch.equal(mask, found.weights.matrices[name]) for name, mask in WEIGHTS.matrices.items())


def test_equal_states_give_equal_bytes(tmp_path: Path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_state(tmp_path / name, state(suppressed=some_masks(MODEL), weights=WEIGHTS))
    for file in (SUPPRESSED, MASKS):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("file", [SUPPRESSED, MASKS])
def test_damaged_masks_are_named(tmp_path: Path, file: str):
    write_state(tmp_path, state(suppressed=some_masks(MODEL), weights=WEIGHTS))
    (tmp_path / file).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=f"{file} holds no masks") as caught:
        read_state(tmp_path, MODEL, card=Card.of({}))
    assert len(str(caught.value).splitlines()) == 1

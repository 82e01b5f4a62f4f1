"""Causal language models of every family that were trained further and saved by transformers."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from secateur.errors import CheckpointError
from secateur.models.checkpoint import load, save
from secateur.models.surgery import cut_
from tests.tiny_models import DECODER_TYPES, logits_of, some_masks, tiny_generator

pytestmark = pytest.mark.parametrize("model_type", DECODER_TYPES)


@pytest.mark.parametrize("tied", [True, False])
def test_a_generator_that_was_trained_further_loads(model_type: str, tied: bool, tmp_path: Path) -> None:
    made = tiny_generator(model_type, tied=tied)
    cut_(made, some_masks(made))
    save(made, None, tmp_path / "cut", card={}, check_reload=False)
    model = load(tmp_path / "cut")
    ids = torch.arange(5, 32).reshape(3, 9)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.05).step()
    model.save_pretrained(tmp_path / "further", max_shard_size="16KB")
    loaded = load(tmp_path / "further")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert (loaded.lm_head.weight is loaded.get_input_embeddings().weight) == tied


def test_a_head_that_is_saved_beside_what_it_is_tied_to(model_type: str, tmp_path: Path) -> None:
    made = tiny_generator(model_type)
    cut_(made, some_masks(made))
    made.save_pretrained(tmp_path / "both")
    file = tmp_path / "both/model.safetensors"
    tensors = {name: tensor.clone().contiguous() for name, tensor in made.state_dict().items()}
    assert "lm_head.weight" in tensors
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
    assert torch.equal(logits_of(load(tmp_path / "both")), logits_of(made))
    safetensors.torch.save_file({**tensors, "lm_head.weight": 2 * tensors["lm_head.weight"]}, file)
    with pytest.raises(CheckpointError, match="differ, tie_word_embeddings says they are one"):
        load(tmp_path / "both")

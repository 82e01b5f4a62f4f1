"""MPNet's table of a bias per head, which layers with different heads share."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from secateur.errors import CheckpointError, ModelError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, save
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import logits_of, some_masks, tiny_config, tiny_model


def cut_differently(model: PreTrainedModel) -> PreTrainedModel:
    """Layers 0 to 2 keep the heads 0 and 2, the head 3, and none."""
    masks = Masks.ones(widths_of(model))
    for mask, kept in zip(masks.heads, ([0, 2], [3], []), strict=True):
        mask[:] = False
        mask[kept] = True
    cut_(model, masks)
    return model


def numbers_of(model: PreTrainedModel) -> list[tuple[int, ...] | None]:
    return [layer.attention.numbers for layer in family_of(model).layers(model)]


@pytest.mark.parametrize("changes", [{}, {"relative_attention_num_buckets": 40}], ids=str)
def test_the_forward_pass_is_that_of_transformers(changes: dict[str, Any]) -> None:
    """Padded left and right, and farther apart than the 128 tokens that the last distance begins at."""
    config = tiny_config("mpnet")
    config.update({"max_position_embeddings": 300, **changes})
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    ids = torch.randint(5, 60, (3, 250))
    ids[1, :90] = ids[2, 60:] = config.pad_token_id
    given = {"input_ids": ids, "attention_mask": (ids != config.pad_token_id).long()}
    with torch.inference_mode():
        theirs = model(**given).logits
        family_of(model).prepare_(model)
        torch.testing.assert_close(model(**given).logits, theirs, rtol=0, atol=1e-5)


def test_layers_know_their_heads_wherever_they_go(tmp_path: Path) -> None:
    model = cut_differently(tiny_model("mpnet"))
    assert numbers_of(model) == [(0, 2), (3,), ()]
    save(model, None, tmp_path / "cut", card={}, check_reload=False)
    loaded = load(tmp_path / "cut")
    assert numbers_of(loaded) == [(0, 2), (3,), ()]
    cut_(loaded, Masks((torch.tensor([False, True]), torch.tensor([True]), torch.zeros(0, dtype=torch.bool)),
                       tuple(torch.ones(24, dtype=torch.bool) for _ in range(3))))  # fmt: skip
    assert numbers_of(loaded) == [(2,), (3,), ()]


def test_after_further_training_the_padded_folder_is_still_exact(tmp_path: Path) -> None:
    """One table is trained, whatever heads a layer has, so plain transformers has a place for it."""
    model = cut_differently(tiny_model("mpnet"))
    table = family_of(model).head_table(model)
    assert table is not None
    before = table.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ids = torch.arange(5, 32).reshape(3, 9)
    model(input_ids=ids, labels=torch.tensor([0, 1, 2])).loss.backward()
    optimizer.step()
    assert (table.weight != before).any(dim=0).tolist() == [True, False, True, True]
    model.save_pretrained(tmp_path / "further")
    export_padded(tmp_path / "further", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=1e-5)


def test_heads_that_find_no_common_place_are_not_padded(tmp_path: Path) -> None:
    """Two heads in each layer would fit into 24 features, but the layers have four different ones."""
    model = tiny_model("mpnet")
    masks = Masks.ones(widths_of(model))
    for mask, gone in zip(masks.heads, ([0, 1], [2, 3], [0, 3]), strict=True):
        mask[gone] = False
    cut_(model, masks)
    cut_hidden_(model, torch.arange(32) < 24)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    with pytest.raises(ModelError, match="divides the hidden size of 24 evenly among the heads, found 4 heads of 8"):
        export_padded(tmp_path / "model", tmp_path / "padded")


@pytest.mark.parametrize("numbers", [[0, 4], [-1, 2], [2, 0], [1, 1]])
def test_numbers_that_are_none_of_the_table_are_a_line(tmp_path: Path, numbers: list[int]) -> None:
    model = cut_differently(tiny_model("mpnet"))
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    name = "mpnet.encoder.layer.0.attention.attn.head_numbers"
    save_file({**load_file(file), name: torch.tensor(numbers)}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"head_numbers of layer 0 are .*; numbers of 0 to 3, ascending, would"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relative_attention_num_buckets": 16}, "relative_attention_num_buckets: 16; transformers tells 32 distances"),
        ({"pad_token_id": 0}, "mpnet with pad_token_id: 0; transformers counts positions from 1"),
    ],
    ids=str,
)
def test_other_variants_are_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    config = tiny_config("mpnet")
    config.update(changes)
    with pytest.raises(ModelError, match=message):
        family_of(config)


def test_a_task_type_is_an_embedding_like_others() -> None:
    """ERNIE's, which the config may leave out."""
    config = tiny_config("ernie")
    with_it = tiny_model("ernie")
    config.use_task_id = False
    without = AutoModelForSequenceClassification.from_config(config)
    assert len(with_it.state_dict()) == len(without.state_dict()) + 1
    cut_(with_it, some_masks(with_it))
    cut_hidden_(with_it, torch.arange(32) < 24)
    assert with_it.base_model.embeddings.task_type_embeddings.weight.shape == (3, 24)

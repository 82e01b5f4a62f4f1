"""ELECTRA's two shapes: embeddings as wide as the layers, or narrower with a linear behind them."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, ElectraForPreTraining, PreTrainedModel

from secateur.budget.cost import structure_costs
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.models.checkpoint import load, load_base, save
from secateur.models.hidden import cut_hidden_
from tests.tiny_models import logits_of, tiny_config

SIZES = {"narrow embeddings": 20, "wide embeddings": 48, "no entrance": 32}


def electra(embedding_size: int) -> PreTrainedModel:
    torch.manual_seed(0)
    config = tiny_config("electra", embedding_size=embedding_size)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("case", SIZES)
def test_features_go_and_the_folder_loads(case: str, tmp_path: Path) -> None:
    model = electra(SIZES[case])
    assert (family_of(model).entrance(model) is None) == (case == "no entrance")
    cut_hidden_(model, torch.arange(32) < 24)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    embeddings = loaded.get_input_embeddings()
    assert embeddings.embedding_dim == loaded.config.embedding_size == {32: 24}.get(SIZES[case], SIZES[case])


def test_the_entrance_is_paid_for() -> None:
    """20 to 32 features for each of 10 tokens, with a bias."""
    with_it, without = (structure_costs(tiny_config("electra", embedding_size=size), length=10) for size in (20, 32))
    assert with_it.fixed.macs - without.fixed.macs == 10 * 20 * 32
    assert with_it.fixed.params - without.fixed.params == 20 * 32 + 32


def test_as_many_features_as_embeddings_have_are_refused() -> None:
    model = electra(20)
    before = logits_of(model)
    with pytest.raises(
        ModelError,
        match="a hidden size of 20 is that of the embeddings, and then electra has no linear between the two; 19 or",
    ):
        cut_hidden_(model, torch.arange(32) < 20)
    assert torch.equal(logits_of(model), before)


def test_a_discriminator_as_published_is_a_base(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = ElectraForPreTraining(tiny_config("electra"))
    published.save_pretrained(tmp_path / "base")
    model = load_base(tmp_path / "base", labels=["no", "yes"])
    assert torch.equal(model.base_model.embeddings_project.weight, published.electra.embeddings_project.weight)

"""DeBERTa's attention here and in transformers, and the variants that are refused."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from secateur.budget.cost import structure_costs
from secateur.errors import ModelError
from secateur.families import family_of
from tests.tiny_models import logits_of, tiny_config, tiny_model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position_buckets": -1},
        {"position_buckets": -1, "max_relative_positions": 4},
        {"norm_rel_ebd": "none", "type_vocab_size": 2, "position_biased_input": True},
    ],
    ids=str,
)
def test_the_forward_pass_is_that_of_transformers(changes: dict[str, Any]) -> None:
    config = tiny_config("deberta-v2")
    config.update(changes)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    theirs = logits_of(model)
    family_of(model).prepare_(model)
    torch.testing.assert_close(logits_of(model), theirs, rtol=0, atol=1e-5)


def test_positions_are_paid_for() -> None:
    """12 rows of 32 features to the 8 of a head, as queries and as keys; and 10 tokens times each of them."""
    config = tiny_config("deberta-v2")
    plain = structure_costs(tiny_config("bert"), length=10).head.macs
    assert structure_costs(config, length=10).head.macs - plain == 2 * 12 * 8 * 32 + 2 * 10 * 12 * 8


def test_a_width_that_a_config_writes_three_times_stays_one() -> None:
    config = tiny_config("deberta-v2")
    config.update({"embedding_size": config.hidden_size})
    family_of(config).write_hidden_size_(config, 16)
    assert config.embedding_size == config.pooler_hidden_size == 16
    assert family_of(config).hidden_size(config) == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_kernel_size": 3}, "deberta-v2 with conv_kernel_size: 3; without a convolution it is"),
        ({"relative_attention": False}, "relative_attention: false; relative_attention: true is"),
        ({"share_att_key": False}, "share_att_key: true, pos_att_type: .c2p, p2c. is"),
        ({"pos_att_type": ["c2p"]}, "share_att_key: true, pos_att_type: .c2p, p2c. is"),
        ({"embedding_size": 16}, "of another width than its layers; of the same it is"),
    ],
    ids=str,
)
def test_other_variants_are_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    config = tiny_config("deberta-v2")
    config.update(changes)
    with pytest.raises(ModelError, match=message):
        family_of(config)


def test_whoever_records_inputs_sees_tokens_alone() -> None:
    model = tiny_model("deberta-v2")
    seen = []
    attention = family_of(model).layers(model)[0].attention
    attention.key.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    logits_of(model)
    assert seen == [(3, 9, 32)]

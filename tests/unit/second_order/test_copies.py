import copy

import torch

from secateur.config.one_shot import one_shot_settings
from secateur.pruning.once import dense_beside
from secateur.second_order import database as database_module
from secateur.second_order.blocks import blocks_of, with_own_projections
from secateur.training.objectives import logits_of
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.second_order.test_database import HALF, built


def addresses(model) -> dict[str, int]:
    return {name: parameter.data_ptr() for name, parameter in model.named_parameters()}


def test_a_copy_with_its_own_projections_shares_all_else() -> None:
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    other = with_own_projections(model)
    projections = {id(block.projection.weight) for block in blocks_of(model)}
    own = {name for name, parameter in model.named_parameters() if id(parameter) in projections}
    ours, theirs = addresses(model), addresses(other)
    apart = {name for name in ours if ours[name] != theirs[name]}
    assert own < apart
    assert apart == own | {name.replace("weight", "bias") for name in own}
    built(model).stitch_(other, HALF)
    other.config.num_labels = 7
    assert model.config.num_labels == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_dense_model_is_a_shell_where_no_weight_of_it_is_read() -> None:
    model, rows = tiny_model(), tiny_rows(8)
    shell = dense_beside(model, one_shot_settings({}))
    assert {parameter.device.type for parameter in shell.parameters()} == {"meta"}
    assert shell.config.to_dict() == model.config.to_dict()
    for changes in ({"recovery.epochs": 0.5}, {"regrow_fraction": 0.1}):
        whole = dense_beside(model, one_shot_settings(changes))
        assert not set(addresses(whole).values()) & set(addresses(model).values())
        assert torch.equal(*(logits_of(one, rows, batch_size=8, precision="fp32") for one in (whole, model)))


def test_solved_weights_are_kept_as_far_as_memory_allows(monkeypatch) -> None:
    model = tiny_model()
    found = built(model)
    size = max(entry.weight.numel() for entry in found.entries) * 4
    monkeypatch.setattr(database_module, "_CACHED_BYTES", 2 * size)
    found.stitch_(model, HALF)
    assert 1 <= len(found._solved) <= 4

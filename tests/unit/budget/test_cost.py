import torch
from torch.utils.flop_counter import FlopCounterMode

from secateur.budget.cost import cost_of, encoder_macs, structure_costs
from secateur.families.structures import Masks
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import tiny_config, tiny_model


def test_the_encoder_alone_agrees_with_the_flop_counter():
    model = tiny_model(attention="eager")
    ids = torch.arange(5, 25)[None]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.base_model.encoder(model.base_model.embeddings(ids))
    assert 2 * encoder_macs(model, 20) == counter.get_total_flops()


def test_cutting_a_head_and_a_neuron_saves_their_price():
    model = tiny_model()
    before = cost_of(model, length=16)
    masks = Masks.ones(widths_of(model))
    masks.heads[0][1] = False
    masks.ffn[2][5] = False
    cut_(model, masks)
    after = cost_of(model, length=16)
    costs = structure_costs(model, length=16)
    head, neuron = costs.head, costs.neuron
    assert before.macs - after.macs == head.macs + neuron.macs
    assert before.params - after.params == head.params + neuron.params
    assert before.bytes - after.bytes == 4 * (head.params + neuron.params)


def test_a_config_is_priced_like_its_model():
    assert structure_costs(tiny_config(), length=8) == structure_costs(tiny_model(), length=8)


def test_attention_grows_with_the_square_of_the_length():
    model = tiny_model()
    linear = sum(32 * 32 * 4 + 2 * 32 * 24 for _ in range(3))
    assert encoder_macs(model, 100) == 100 * linear + 3 * 2 * 100 * 100 * 32

"""One cached step computes what the whole row would, however often it is called."""

import numpy as np
import pytest
import torch

from secateur.budget.latency_measurement import cut_copy
from secateur.families.structures import Widths
from secateur.inference.language_model import TorchLanguageModel
from secateur.inference.runners import StepRunner
from tests.tiny_generators import llama


@pytest.mark.parametrize("widths", [((2, 2), (48, 48)), ((1, 2), (48, 7)), ((0, 1), (9, 0)), ((2,), (48,))])
def test_a_step_gives_the_logits_of_the_last_token_again_and_again(widths):
    model = cut_copy(llama(30), Widths(heads=widths[0], ffn=widths[1], head_dim=8))
    ids = np.array([[2, 9, 7, 5], [2, 4, 4, 8]])
    runner = StepRunner(TorchLanguageModel(model))
    with torch.inference_mode():
        whole = model(input_ids=torch.from_numpy(ids)).logits[:, -1].numpy()
    for _ in range(3):
        assert runner(ids, np.ones_like(ids)) == pytest.approx(whole, abs=1e-5)
    assert runner(ids[:, :1], np.ones_like(ids[:, :1])) == pytest.approx(
        model(input_ids=torch.from_numpy(ids[:, :1])).logits[:, -1].detach().numpy(), abs=1e-5
    ), "one token has nothing before it"


def test_copies_share_what_no_cut_changes():
    model = llama(30)
    copy = cut_copy(model, Widths(heads=(1, 1), ffn=(9, 9), head_dim=8))
    assert copy.get_input_embeddings().weight is model.get_input_embeddings().weight
    assert copy.get_output_embeddings().weight is copy.get_input_embeddings().weight

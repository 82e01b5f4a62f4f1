import dataclasses

import numpy as np
import pytest
import torch

from secateur.data.tokens import from_lists
from secateur.training.batches import batches_of
from secateur.training.objectives import label_loss, outputs_of
from secateur.training.precision import plain_attention
from tests.tiny_models import tiny_generator


def text_rows(*, length: int):
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, 30, size=length).astype(np.int32) for _ in range(4)]
    return from_lists(rows, labels=np.zeros(4, np.int64), given=(1,))


def gradient(model, rows, *, precision):
    model.zero_grad()
    (batch,) = batches_of(rows, batch_size=4, pad_token_id=0)
    label_loss(outputs_of(model, batch, precision=precision).logits, batch.labels).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_attention_as_plain_products_has_the_gradient_of_fp32(model_type):
    model, rows = tiny_generator(model_type), text_rows(length=12)
    expected = gradient(model, rows, precision="fp32")
    with plain_attention(model, "bf16", rows=rows):
        found = gradient(model, rows, precision="bf16")
    assert torch.cosine_similarity(found, expected, dim=0) > 0.999


def test_attention_is_left_alone_for_classifiers_long_rows_and_fp32():
    model, rows = tiny_generator("llama"), text_rows(length=12)
    fused = torch.backends.cuda.flash_sdp_enabled()
    untouched = (
        (dataclasses.replace(rows, given=None), "bf16"),
        (text_rows(length=300), "bf16"),
        (rows, "fp32"),
    )
    for some, precision in untouched:
        with plain_attention(model, precision, rows=some):
            assert torch.backends.cuda.flash_sdp_enabled() == fused
    with plain_attention(model, "bf16", rows=rows):
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled() == fused

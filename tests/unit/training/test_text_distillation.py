import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from secateur.data.tokens import from_lists
from secateur.training.batches import IGNORED, batches_of
from secateur.training.lesson import Lesson
from secateur.training.objectives import TOKENS_AT_ONCE, Outputs, outputs_of
from secateur.training.text_distillation import TextDistillation
from tests.tiny_models import tiny_generator

KEPT = 20
"""Tokens that stay in the vocabulary of a student whose vocabulary was cut."""

LENGTHS = (40, 33, 7, 40, 40, 40, 40, 40)


@pytest.fixture(scope="module")
def teacher():
    return tiny_generator("llama")


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, KEPT, size=length).astype(np.int32) for length in LENGTHS]
    text = from_lists(rows, labels=np.zeros(len(rows), np.int64), given=(1,))
    (found,) = batches_of(text, batch_size=len(rows), pad_token_id=0)
    assert found.input_ids.numel() > TOKENS_AT_ONCE  # so that the loss is summed over parts
    return found


def distillation(teacher, **changes) -> TextDistillation:
    settings = {"weight": 1.0, "temperature": 2.0, "label_smoothing": 0.0, "precision": "fp32"}
    return TextDistillation(Lesson(**{"teacher": teacher, "logits": None} | settings | changes))


def test_the_teacher_itself_loses_nothing(teacher, batch):
    itself = outputs_of(teacher, batch, precision="fp32")
    assert distillation(teacher)(itself, batch).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("kept", [None, KEPT])
def test_the_loss_is_the_mean_divergence_of_the_predicted_tokens(teacher, batch, kept):
    size = teacher.config.vocab_size if kept is None else kept
    token_ids = None if kept is None else torch.arange(kept)
    logits = torch.randn(*batch.labels.shape, size, generator=torch.Generator().manual_seed(1))
    predicted = batch.labels != IGNORED
    with torch.no_grad():
        expected = outputs_of(teacher, batch, precision="fp32").logits[predicted][:, :size]
    by_hand = 4.0 * kl_div(
        torch.log_softmax(logits[predicted] / 2.0, dim=-1),
        torch.log_softmax(expected / 2.0, dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    found = distillation(teacher, token_ids=token_ids)(Outputs(logits), batch)
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-5)

import pytest
import torch
from torch.nn.functional import cross_entropy

from secateur.training.batches import Batch, batches_of
from secateur.training.objectives import (
    TOKENS_AT_ONCE,
    Distillation,
    LabelLoss,
    Outputs,
    logits_of,
    next_token_loss,
    outputs_of,
)
from tests.unit.pruning.tiny import tiny_model, tiny_rows

TEACHER = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])


def batch_of(index, labels) -> Batch:
    ids = torch.zeros(len(index), 1, dtype=torch.long)
    return Batch(
        input_ids=ids,
        attention_mask=ids + 1,
        labels=torch.tensor(labels),
        index=torch.tensor(index),
        kind="classification",
    )


def distillation(weight: float, temperature: float = 2.0) -> Distillation:
    return Distillation(teacher_logits=TEACHER, weight=weight, temperature=temperature, label_smoothing=0.0)


def test_weight_zero_is_cross_entropy():
    logits, batch = torch.randn(2, 2), batch_of([1, 2], [0, 1])
    assert distillation(0.0)(Outputs(logits), batch) == LabelLoss(0.0)(Outputs(logits), batch)


def test_worked_by_hand():
    # Teacher row 1 at T=2: softmax([1, 0]) = (e, 1) / (e + 1); a student with equal logits: (1/2, 1/2).
    e = torch.e
    p = torch.tensor([e, 1.0], dtype=torch.float64) / (e + 1)
    expected = 4 * (p * (p / 0.5).log()).sum()
    assert distillation(1.0)(Outputs(torch.zeros(1, 2)), batch_of([1], [0])).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_rows_find_their_own_teacher_and_agreement_costs_nothing():
    assert distillation(1.0)(Outputs(TEACHER[[2, 1]]), batch_of([2, 1], [0, 0])).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation(1.0)(Outputs(TEACHER[[1, 2]]), batch_of([2, 1], [0, 0])).item() > 0.1


def test_the_two_parts_are_mixed_linearly():
    outputs, batch = Outputs(torch.tensor([[1.0, -1.0]])), batch_of([2], [0])
    hard, soft = distillation(0.0)(outputs, batch), distillation(1.0)(outputs, batch)
    assert distillation(0.3)(outputs, batch).item() == pytest.approx((0.7 * hard + 0.3 * soft).item(), rel=1e-6)


def test_logits_come_in_the_order_of_the_rows_whatever_the_batches():
    model, rows = tiny_model(), tiny_rows(20)
    one = torch.cat([logits_of(model, rows.take([i]), batch_size=1, precision="fp32") for i in range(20)])
    torch.testing.assert_close(logits_of(model, rows, batch_size=7, precision="fp32"), one, rtol=1e-5, atol=1e-5)


def test_hidden_states_are_there_when_asked_for_and_change_no_logit():
    model, rows = tiny_model(layers=3), tiny_rows(4)
    (batch,) = batches_of(rows, batch_size=4, pad_token_id=0)
    without = outputs_of(model, batch, precision="fp32")
    with_states = outputs_of(model, batch, precision="fp32", hidden_states=True)
    assert without.hidden_states is None
    assert torch.equal(with_states.logits, without.logits)
    assert [tuple(state.shape) for state in with_states.layers()] == [(*batch.input_ids.shape, 16)] * 3


def test_next_tokens_count_alike_and_ignored_ones_not_at_all():
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, -100, 4], [-100, 0, -100]])
    by_hand = [cross_entropy(logits[b, t], labels[b, t]) for b, t in ((0, 0), (0, 2), (1, 1))]
    assert next_token_loss(logits, labels).item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-6)
    assert next_token_loss(logits, labels, reduction="sum").item() == pytest.approx(sum(by_hand).item(), rel=1e-6)


def test_the_loss_of_many_tokens_and_its_gradient_do_not_depend_on_how_they_are_taken_together():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, TOKENS_AT_ONCE - 5, 7, generator=generator).bfloat16().requires_grad_()
    labels = torch.randint(0, 7, (3, TOKENS_AT_ONCE - 5), generator=generator)
    labels[1, 10:] = -100
    at_once = cross_entropy(logits.float().flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    (expected,) = torch.autograd.grad(at_once, logits)
    in_parts = next_token_loss(logits, labels, label_smoothing=0.1)
    (found,) = torch.autograd.grad(in_parts, logits)
    torch.testing.assert_close(in_parts, at_once, rtol=1e-5, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-6)

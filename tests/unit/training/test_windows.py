"""Rows that are read in windows: a row counts once, whatever its windows and however they are batched."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from secateur.data.tokens import from_lists
from secateur.data.windows import Windows
from secateur.evaluation.attacks.word_swap import embedding_gradient, swap_words
from secateur.evaluation.deployed import answers
from secateur.inference.runners import TorchRunner
from secateur.pruning.first_order import taylor
from secateur.second_order.mask_fisher import mask_fisher
from secateur.training.batches import batches_of, collate, filled, loader
from secateur.training.data_parallel import Replica
from secateur.training.objectives import Distillation, LabelLoss, logits_of, outputs_of
from secateur.training.validation import validate
from tests.tiny_models import tiny_model
from tests.unit.training.test_data_parallel import parallel

WINDOWS = Windows(8, 1, 1, most=4)
LENGTHS = (3, 8, 20, 9, 40, 5, 26, 8)


def rows_of(lengths=LENGTHS, *, windows=WINDOWS):
    draw = np.random.default_rng(0)
    ids = [[2, *draw.integers(4, 40, size=length - 2).tolist(), 3] for length in lengths]
    return from_lists(ids, labels=np.arange(len(lengths)) % 3, windows=windows)


ROWS = rows_of()


def by_hand(model, rows):
    """Return the mean of the logits of every window, each called alone."""
    means = []
    with torch.no_grad():
        for index in range(len(rows)):
            pieces = WINDOWS.of(rows.ids(index).astype(np.int64))
            said = [model(input_ids=torch.from_numpy(piece)[None]).logits for piece in pieces]
            means.append(torch.cat(said).mean(dim=0))
    return torch.stack(means)


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=40), most=st.integers(1, 20))
def test_runs_are_as_long_as_they_can_be(counts, most):
    runs = filled(counts, most=most)
    assert [place for run in runs for place in run] == list(range(len(counts)))
    totals = [sum(counts[place] for place in run) for run in runs]
    assert all(total <= most or len(run) == 1 for total, run in zip(totals, runs, strict=True))
    assert all(total + counts[run.stop] > most for total, run in zip(totals, runs[:-1], strict=False))


def test_a_row_has_one_answer_and_it_is_the_mean_of_its_windows():
    model = tiny_model()
    expected = by_hand(model, ROWS)
    for batch_size in (1, 3, 64):
        found = logits_of(model, ROWS, batch_size=batch_size, precision="fp32")
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        said = answers(TorchRunner(model), ROWS, batch_size=batch_size)
        torch.testing.assert_close(said, expected, rtol=0, atol=1e-5)
    scores = validate(model, ROWS, batch_size=4, precision="fp32")
    assert scores.loss == pytest.approx(float(cross_entropy(expected, torch.from_numpy(ROWS.labels))), abs=1e-5)


def test_passes_have_as_many_windows_as_others_have_rows_and_steps_as_many_rows():
    batches = list(batches_of(ROWS, batch_size=5, pad_token_id=0))
    assert all(len(batch.input_ids) <= 5 for batch in batches) and max(b.input_ids.shape[1] for b in batches) == 8
    assert sorted(index for batch in batches for index in batch.index.tolist()) == list(range(len(ROWS)))
    steps = list(loader(ROWS, batch_size=3, seed=0, pad_token_id=0))
    assert [len(step.labels) for step in steps].count(3) == 2 and len(steps) == 3


def test_parts_hold_whole_rows_and_memory_is_bounded():
    batch = collate(ROWS, np.array([4, 0, 3, 6]), pad_token_id=0)
    assert batch.row_of.tolist() == [0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 3]
    part = batch.part(1, of=2)
    assert (part.index.tolist(), part.row_of.tolist()) == ([0, 6], [0, 1, 1, 1, 1])
    assert torch.equal(part.input_ids[1:], batch.input_ids[7:])
    bits = batch.bounded()
    assert [bit.index.tolist() for bit in bits] == [[4], [0, 3], [6]]
    assert collate(ROWS, np.array([0, 1]), pad_token_id=0).bounded()[0].row_of is None


@pytest.mark.parametrize("teaches", [False, True])
def test_gradients_bit_by_bit_are_those_of_the_loss_of_the_rows(teaches):
    model = tiny_model()
    logits = torch.randn(len(ROWS), 3, generator=torch.Generator().manual_seed(1))
    objective = LabelLoss(0.1, class_weights=torch.tensor([1.0, 2.0, 0.5]))
    if teaches:
        objective = Distillation(logits, weight=0.5, temperature=2.0, label_smoothing=0.1)
    batch = collate(ROWS, np.arange(len(ROWS)), pad_token_id=0)
    assert len(batch.bounded()) > 1
    loss = objective(outputs_of(model, batch, precision="fp32"), batch)
    expected = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    found = Replica(model, objective=objective, precision="fp32").backward(batch, share=1.0)
    assert float(found) == pytest.approx(loss.item(), abs=1e-5)
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        if wanted is not None:
            torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-6)


def test_threads_share_the_rows_of_a_batch():
    model, rows = tiny_model(), rows_of(LENGTHS * 2)
    batch, before = collate(rows, np.arange(16), pad_token_id=0), torch.get_num_threads()

    def gradient(num_threads):
        torch.set_num_threads(num_threads)
        model.zero_grad()
        with parallel(model, rows) as found:
            loss = float(found.backward(batch))
            return found.num_replicas, loss, model.get_input_embeddings().weight.grad.clone()

    try:
        one, two = gradient(1), gradient(2)
    finally:
        torch.set_num_threads(before)
    assert (one[0], two[0]) == (1, 2) and one[1] == pytest.approx(two[1], abs=1e-5)
    torch.testing.assert_close(one[2], two[2], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("found", [taylor, mask_fisher])
def test_criteria_of_rows_do_not_see_how_windows_are_batched(found):
    model = tiny_model(num_layers=1)
    one, all_at_once = (
        found(model, batches_of(ROWS, batch_size=size, pad_token_id=0), precision="fp32") for size in (1, 64)
    )
    flat = [torch.cat([t.flatten() for part in parts for t in (part if isinstance(part, list) else [part])])
            for parts in (one, all_at_once)]  # fmt: skip
    torch.testing.assert_close(*flat, rtol=1e-3, atol=1e-7)


def test_a_swap_counts_in_every_window_that_holds_its_word():
    model = tiny_model()
    rows = rows_of((20,))
    place, candidates = 5, torch.tensor([5, 6, 9, 11])  # in two windows
    assert sum(start < place <= start + WINDOWS.room for start in WINDOWS.starts(20)) == 2
    swappable, whole = np.zeros(20, bool), torch.zeros(60, dtype=torch.bool)
    swappable[place], whole[candidates] = True, True
    (batch,) = batches_of(rows, batch_size=64, pad_token_id=0)
    gradient = embedding_gradient(model, batch, precision="fp32")
    total = sum(gradient[number, place - start] for number, start in enumerate(WINDOWS.starts(20))
                if start < place <= start + WINDOWS.room)  # fmt: skip
    table = model.get_input_embeddings().weight.detach()
    rise = (table[candidates] - table[int(rows.ids(0)[place])]) @ total
    found = swap_words(model, rows, swappable=swappable, whole=whole, num_words=1, num_candidates=9, batch_size=4,
                       precision="fp32")  # fmt: skip
    own = int(rows.ids(0)[place])
    best = max(((float(r), int(c)) for r, c in zip(rise, candidates, strict=True) if int(c) != own))
    wanted = best[1] if best[0] > 0 else own
    assert int(found.ids(0)[place]) == wanted
    assert np.array_equal(np.delete(found.ids(0), place), np.delete(rows.ids(0), place))

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch

from secateur.data.tokens import from_lists
from secateur.determinism import fix_randomness
from secateur.errors import ModelError
from secateur.training import data_parallel as data_parallel_module
from secateur.training.batches import IGNORED, batches_of
from secateur.training.data_parallel import data_parallel
from secateur.training.lesson import Lesson
from secateur.training.loop import Plan, train_
from secateur.training.objectives import LabelLoss
from secateur.training.processes import Ranks
from secateur.training.text_distillation import TextDistillation
from tests.tiny_models import tiny_generator
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.training.test_loop import settings

ENCODER_ROWS = tiny_rows(32)


def texts(count: int = 32):
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, 30, size=length).astype(np.int32) for length in generator.integers(2, 20, size=count)]
    return from_lists(rows, labels=np.zeros(count, np.int64), given=(1,))


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@contextmanager
def bare(model, seed):
    model.train()
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    yield


def parallel(model, rows, *, batch_size=16, objective=None, prepared=bare):
    return data_parallel(
        model,
        rows=rows,
        batch_size=batch_size,
        objective=objective or LabelLoss(0.0),
        precision="fp32",
        seed=0,
        prepared=prepared,
    )


def gradients_of(model, rows, *, num_threads, change=lambda batch: batch, **options):
    """Return the number of replicas, the loss and the gradients of the first 16 rows."""
    torch.set_num_threads(num_threads)
    model.zero_grad()
    with parallel(model, rows, **options) as found:
        loss = found.backward(change(next(batches_of(rows, batch_size=16, pad_token_id=0))))
    return found.num_replicas, loss, [parameter.grad for parameter in model.parameters()]


CASES = {
    "encoder": (tiny_model, ENCODER_ROWS, LabelLoss(0.1)),
    "generator": (partial(tiny_generator, "llama"), texts(), LabelLoss(0.0)),
    "distilled": (
        partial(tiny_generator, "llama"),
        texts(),
        TextDistillation(Lesson(tiny_generator("llama", seed=1), None, 0.5, 2.0, 0.0, "fp32")),
    ),
}


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_processes_have_the_gradient_of_the_whole_batch(case, num_threads, monkeypatch):
    build, rows, objective = CASES[case]
    model = build()
    _, loss, whole = copied(gradients_of(model, rows, num_threads=1, objective=objective))
    monkeypatch.setattr(data_parallel_module, "_MIN_ROWS", 2)
    monkeypatch.setattr(Ranks, "add_", lambda self, loss, _: loss)
    parts = []
    for rank in range(3):
        alone = Ranks(rank, 3)
        monkeypatch.setattr(Ranks, "now", lambda alone=alone: alone)
        parts.append(copied(gradients_of(model, rows, num_threads=num_threads, objective=objective)))
    assert {count for count, _, _ in parts} == {num_threads}
    assert sum(float(of_part) for _, of_part, _ in parts) == pytest.approx(float(loss), rel=1e-5)
    for place, gradient in enumerate(whole):
        if gradient is not None:
            summed = sum(of_part[place] for _, _, of_part in parts if of_part[place] is not None)
            assert torch.allclose(summed, gradient, atol=1e-6, rtol=1e-4)


def copied(found):
    count, loss, gradients = found
    return count, loss, [None if gradient is None else gradient.clone() for gradient in gradients]


@pytest.mark.parametrize("case", CASES)
def test_replicas_have_the_gradient_of_the_whole_batch(case):
    build, rows, objective = CASES[case]
    one, loss, expected = gradients_of(build(), rows, num_threads=1, objective=objective)
    two, split, found = gradients_of(build(), rows, num_threads=2, objective=objective)
    assert (one, two) == (1, 2)
    torch.testing.assert_close(split, loss)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_part_without_anything_to_predict_counts_nothing():
    def every_other_row_silent(batch):
        batch.labels[1::2] = IGNORED
        return batch

    build, rows, _ = CASES["generator"]
    _, loss, expected = gradients_of(build(), rows, num_threads=1, change=every_other_row_silent)
    two, split, found = gradients_of(build(), rows, num_threads=2, change=every_other_row_silent)
    assert two == 2
    torch.testing.assert_close(split, loss)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("num_threads", "batch_size", "expected"), [(1, 64, 1), (2, 15, 1), (2, 16, 2), (4, 16, 2), (4, 32, 4), (3, 16, 1)]
)
def test_replicas_have_rows_and_threads_enough(num_threads, batch_size, expected):
    torch.set_num_threads(num_threads)
    with parallel(tiny_model(), ENCODER_ROWS, batch_size=batch_size) as found:
        assert found.num_replicas == expected
        assert set(found.map(lambda _: torch.get_num_threads(), range(8))) == {num_threads // expected}
    assert torch.get_num_threads() == num_threads


def test_dropout_of_attention_keeps_all_threads_in_every_product():
    @contextmanager
    def as_it_is(model, seed):
        model.train()
        yield

    torch.set_num_threads(2)
    before = torch.get_rng_state()
    with parallel(tiny_model(), ENCODER_ROWS, prepared=as_it_is) as found:
        assert found.num_replicas == 1
    assert torch.equal(torch.get_rng_state(), before)


def train(*, objective=None, seed=0, **changes):
    fix_randomness(seed=seed, num_threads=2)
    model = tiny_generator("llama")
    values = settings(**{"batch_size": 16, "dropout": 0.1} | changes)
    plan = Plan(title="test", settings=values, seed=seed, precision="bf16", best_by="quality")
    trained = train_(model, train=texts(), validation=texts(8), objective=objective or LabelLoss(0.0), plan=plan)
    return trained, model.state_dict()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_same_seed_same_bits_with_dropout(optimizer):
    (first, weights), (again, same), (_, other) = (train(optimizer=optimizer, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert any(not torch.equal(weights[name], other[name]) for name in weights)


def test_frozen_embeddings_stay():
    before = tiny_generator("llama").get_input_embeddings().weight
    _, weights = train(train_embeddings=False)
    assert torch.equal(weights["model.embed_tokens.weight"], before)


def test_what_fails_in_a_thread_ends_the_training():
    class Broken(LabelLoss):
        def __call__(self, outputs, batch):
            return super().__call__(outputs, batch) * float("nan")

    with pytest.raises(ModelError, match="test: step 1 of 4: the loss is nan"):
        train(objective=Broken(0.0))

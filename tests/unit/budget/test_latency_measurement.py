import copy
import math
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch

from secateur.budget import latency_measurement
from secateur.budget.latency_measurement import measure_table
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.config.prune import LatencyBudget
from secateur.errors import ModelError
from secateur.inference.machine import describe_machine
from tests.tiny_generators import llama
from tests.tiny_models import tiny_config

QUIET = LatencyBudget(runtime="torch", batch=1, length=4, num_threads=1, repeats=3)
SETTINGS = QUIET.model_copy(update={"max_error": 1000.0})  # three calls tell little, and this machine may be busy


@pytest.mark.parametrize("runtime", ["torch", "onnx", "onnx-int8"])
def test_a_table_is_measured_on_every_runtime(runtime: str):
    config = tiny_config(num_layers=2)
    state = torch.get_rng_state()
    table = measure_table(config, SETTINGS.model_copy(update={"runtime": runtime}))
    assert torch.equal(torch.get_rng_state(), state), "the global generator stays as it was"
    assert config.vocab_size == 60
    assert (len(table.attention_ms), table.ffn_widths) == (5, (0, 16, 24))
    for prices in (table.attention_ms, table.ffn_ms):
        assert all(narrow <= wide for narrow, wide in pairwise(prices))
    assert table.shape == shape_of(config)
    assert table.machine == describe_machine()
    assert table.settings.runtime == runtime
    assert 1 <= len(table.checks) <= 8
    assert table.dense_ms > 0
    assert all(check.measured_ms > 0 for check in table.checks)
    assert "task" not in table.as_json()["shape"], "tables of classifiers look as they always did"
    assert LatencyTable.from_json(table.as_json()).shape == table.shape


def test_a_narrower_residual_stream_is_timed_against_the_dense_model():
    table = measure_table(tiny_config(num_layers=2), SETTINGS, hidden_size=16)
    assert (table.shape.hidden_size, table.shape.kept_hidden_size) == (32, 16)


def test_a_generator_is_timed_step_by_step():
    config = llama(50).config
    table = measure_table(config, SETTINGS)
    assert (len(table.attention_ms), table.ffn_widths) == (3, (0, 16, 32, 48)), "widths are groups of heads"
    assert table.shape == shape_of(config)
    classifier = copy.deepcopy(config)
    classifier.architectures = ["LlamaForSequenceClassification"]
    assert "token by token" in str(table.mismatch(SETTINGS, shape_of(classifier)))
    assert LatencyTable.from_json(table.as_json()).shape == table.shape
    with pytest.raises(ModelError, match=r"prune\.latency\.runtime=onnx: tables of generators are measured on torch"):
        measure_table(config, SETTINGS.model_copy(update={"runtime": "onnx"}))


def test_more_tokens_than_positions():
    with pytest.raises(ModelError, match=r"prune\.latency\.length=41 is more than the model can read \(40 tokens\)"):
        measure_table(tiny_config(), SETTINGS.model_copy(update={"length": 41}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock: every model takes as long as it is wide, times noise; return the noise of each attempt."""
    noise: list[float] = []
    attempts: list[object] = []
    passes = Counter[int]()

    def timed(runners, *, ids, repeats, num_threads, after_round=None):
        for _ in range(repeats):
            if after_round is not None:
                after_round()
        if len(runners) > 15:
            attempts.append(runners)
        passes.update([len(attempts)])
        draw = np.random.default_rng([len(attempts), passes[len(attempts)]])
        scale = noise[min(len(attempts), len(noise)) - 1]
        return {
            key: [size_of(runner) * (1.0 if key == -1 else math.exp(draw.normal(scale=scale)))] * repeats
            for key, runner in runners.items()
        }

    monkeypatch.setattr(latency_measurement, "time_runners", timed)
    return noise


def size_of(runner) -> float:
    return 1.0 + sum(parameter.numel() for parameter in runner._model.bert.encoder.parameters()) / 1000


def test_a_noisy_table_is_measured_again_and_the_quiet_one_kept(clock: list[float], monkeypatch):
    bars: list[tuple[str, float, float]] = []

    @contextmanager
    def progress(title, *, total, live):
        assert not live, "no thread draws while the clock runs"
        done = [0.0]

        def advance(note="", *, steps=1.0):
            done[0] += steps

        yield advance
        bars.append((title, total, done[0]))

    monkeypatch.setattr(latency_measurement, "progress", progress)
    clock += [0.5, 0.001]
    table = measure_table(tiny_config(num_layers=2), QUIET)
    assert table.doubt is None
    assert [title.partition(":")[0] for title, *_ in bars] == ["latency table", "latency table, measured again"]
    assert all(0.4 * total <= done <= total for _, total, done in bars)


def test_a_machine_that_stays_noisy_ends_after_three_attempts_in_doubt(clock: list[float]):
    clock += [0.5]
    table = measure_table(tiny_config(num_layers=2), QUIET)
    assert table.doubt is not None
    assert table.spread > 0.1
    quiet = measure_table(tiny_config(num_layers=2), SETTINGS)
    assert quiet.doubt is None

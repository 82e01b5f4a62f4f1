import copy
import math
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch

import secateur
from secateur.budget import latency_measurement
from secateur.budget.graph_slicing import DenseGraph
from secateur.budget.latency_measurement import measure_table
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.config.prune import LatencyBudget
from secateur.data.tokens import from_lists
from secateur.errors import ModelError
from secateur.inference.language_model import OnnxLanguageModel
from secateur.inference.machine import describe_machine
from secateur.models.surgery import widths_of
from secateur.pruning.layers_and_features import reshape_
from tests.tiny_generators import llama
from tests.tiny_models import tiny_config, tiny_generator

QUIET = LatencyBudget(runtime="torch", batch=1, length=4, num_threads=1, repeats=3)
SETTINGS = QUIET.model_copy(update={"max_error": 1000.0})  # three calls tell little, and this machine may be busy


@pytest.fixture
def few_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time as many models as a table of two tiny layers can do with."""
    monkeypatch.setattr(latency_measurement, "_NUM_CHOSEN", 4)
    monkeypatch.setattr(latency_measurement, "_NUM_CHECKS", 3)


@pytest.mark.usefixtures("few_models")
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
    assert 1 <= len(table.checks) <= 3
    assert table.dense_ms > 0
    assert all(check.measured_ms > 0 for check in table.checks)
    assert "task" not in table.as_json()["shape"], "tables of classifiers look as they always did"
    assert LatencyTable.from_json(table.as_json()).shape == table.shape


@pytest.mark.usefixtures("few_models")
def test_a_narrower_residual_stream_is_timed_against_the_dense_model():
    table = measure_table(tiny_config(num_layers=2), SETTINGS, hidden_size=16)
    assert (table.shape.hidden_size, table.shape.kept_hidden_size) == (32, 16)


@pytest.mark.usefixtures("few_models")
def test_a_generator_is_timed_step_by_step():
    config = llama(50).config
    table = measure_table(config, SETTINGS)
    assert (len(table.attention_ms), table.ffn_widths) == (3, (0, 16, 32, 48)), "widths are groups of heads"
    assert table.shape == shape_of(config)
    classifier = copy.deepcopy(config)
    classifier.architectures = ["LlamaForSequenceClassification"]
    assert "token by token" in str(table.mismatch(SETTINGS, shape_of(classifier)))
    assert LatencyTable.from_json(table.as_json()).shape == table.shape


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch) -> list[DenseGraph]:
    """Let every graph of a step take as long as it has weights; return the dense ones that slices are cut from."""
    graphs: list[DenseGraph] = []

    class Weighed(OnnxLanguageModel):
        def __init__(self, file, **given):
            super().__init__(file, **given)
            self.ms = ms_of(onnx.load(file))

    def timed(runners, *, ids, repeats, num_threads, after_round=None):
        return {key: [runner._model.ms] * repeats for key, runner in runners.items()}

    def sliced(model):
        graphs.append(DenseGraph(model))
        return graphs[-1]

    monkeypatch.setattr(latency_measurement, "OnnxLanguageModel", Weighed)
    monkeypatch.setattr(latency_measurement, "DenseGraph", sliced)
    monkeypatch.setattr(latency_measurement, "time_runners", timed)
    return graphs


def ms_of(graph: onnx.ModelProto) -> float:
    return sum(math.prod(tensor.dims) for tensor in graph.graph.initializer if len(tensor.dims) > 1) / 1000


@pytest.mark.parametrize("model_type", ["gpt_neox", "olmo3"])
def test_a_generator_keeps_a_budget_of_time_in_onnx(model_type: str, weighed: list[DenseGraph]):
    """Its steps, whose slices `measure_table` itself compares with models that are cut so."""
    model = tiny_generator(model_type, num_layers=2)
    table = measure_table(model.config, QUIET.model_copy(update={"runtime": "onnx"}))
    assert table.doubt is None
    ids = torch.arange(4, 36).reshape(4, 8)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    result = secateur.prune(model, [batch], budget={"latency": 0.7, "table": table}, criterion="magnitude")
    dense_ms, left_ms = (ms_of(weighed[0].slice(widths_of(each))) for each in (model, result.model))
    assert table.dense_ms == pytest.approx(dense_ms)
    assert result.achieved["latency"] == pytest.approx(left_ms / dense_ms, rel=0.02)
    assert 0.6 < left_ms / dense_ms <= 0.7 * 1.02


@pytest.mark.parametrize("rotates", [True, False])
def test_fewer_features_of_a_generator_are_timed_as_they_are_cut(rotates: bool, weighed: list[DenseGraph]):
    """Where the head is the embeddings, with the matrix that a rotation leaves in the last norm."""
    model = tiny_generator("llama" if rotates else "gpt2", num_layers=2)
    measure_table(model.config, QUIET.model_copy(update={"runtime": "onnx"}), hidden_size=24)
    rows = from_lists([list(range(4, 12))] * 4, labels=np.zeros(4, np.int64), given=())
    reshape_(model, rows, num_layers=None, hidden_size=24, precision="fp32")
    assert (model.base_model.config.to_dict().get("final_gain_matrix") is True) == rotates
    assert ms_of(DenseGraph(model).slice(widths_of(model))) == ms_of(weighed[1].slice(widths_of(model)))


def test_a_generator_whose_graphs_cannot_be_cut_is_told_so(monkeypatch: pytest.MonkeyPatch):
    def other(model):
        raise ModelError("the exported graph has another form for other widths, so it cannot be sliced")

    monkeypatch.setattr(latency_measurement, "DenseGraph", other)
    with pytest.raises(ModelError, match=r"prune\.latency\.runtime=onnx: the exported .* sliced; torch would work"):
        measure_table(llama(50).config, SETTINGS.model_copy(update={"runtime": "onnx"}))


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

import gc
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.errors import CheckpointError, ModelError
from secateur.inference.latency import _time_by_runtime, bench, time_runners
from secateur.inference.runners import open_runner
from secateur.models.checkpoint import save
from secateur.models.surgery import cut_
from tests.tiny_models import some_masks, tiny_model


def test_calls_alternate_and_the_collector_rests():
    calls: list[str] = []
    collecting: list[bool] = []

    def runner(name: str, seconds: float):
        def run(ids, mask):
            calls.append(name)
            collecting.append(gc.isenabled())
            time.sleep(seconds)
            return np.zeros((1, 2), dtype=np.float32)

        return run

    times = time_runners(
        {"slow": runner("slow", 0.004), "fast": runner("fast", 0.0)},
        ids=np.ones((1, 4), dtype=np.int64),
        repeats=5,
        num_threads=2,
    )
    assert calls[-20:] == ["slow", "slow", "fast", "fast"] * 5, "each timed call follows one that is not"
    assert not any(collecting[-20:])
    assert gc.isenabled()
    assert len(times["slow"]) == 5
    assert min(times["slow"]) >= 4.0 > max(times["fast"])


def test_the_time_of_other_work_is_not_that_of_a_call_in_one_thread():
    def disturbed(_ids, _mask):
        time.sleep(0.02)  # the core is somebody else's

    ids = np.zeros((1, 4), dtype=np.int64)
    times = {
        threads: min(time_runners({"a": disturbed}, ids=ids, repeats=3, num_threads=threads)["a"]) for threads in (1, 2)
    }
    assert times[1] < 5 < 20 <= times[2], "several threads are timed by the wall"


def test_a_runtime_is_timed_for_some_rounds_and_its_turn_comes_again():
    calls: list[str] = []

    def runner(name: str):
        return lambda ids, mask: calls.append(name) or np.zeros((1, 2), dtype=np.float32)

    keys = [(Path(model), runtime) for model in ("dense", "cut") for runtime in ("torch", "onnx")]
    runners = {key: runner("/".join(map(str, key))) for key in keys}
    times = _time_by_runtime(runners, ids=np.ones((1, 4), dtype=np.int64), repeats=50, num_threads=2)
    assert list(times) == keys
    assert {len(found) for found in times.values()} == {50}
    turns = [name for name, _ in itertools.groupby(call.partition("/")[2] for call in calls)]
    assert turns == ["torch", "onnx"] * 3


def test_the_first_checkpoint_is_the_reference(tmp_path: Path, monkeypatch):
    model = tiny_model()
    save(model, None, tmp_path / "dense", card={}, check_reload=False)
    cut_(model, some_masks(model))
    save(model, None, tmp_path / "cut", card={}, check_reload=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    results = bench(
        [tmp_path / "dense", tmp_path / "cut"],
        runtimes=["torch"],
        batch=2,
        length=8,
        num_threads=1,
        repeats=5,
        workdir=tmp_path / "work",
    )
    assert [result.checkpoint.name for result in results] == ["dense", "cut"]
    assert results[0].speedup == 1.0
    assert results[1].speedup == results[0].median_ms / results[1].median_ms
    assert all(0 < result.median_ms <= result.p95_ms for result in results)
    assert counts == [1, 2], "set for the duration, then put back"


def test_what_is_no_checkpoint_is_said_before_anything_runs(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        open_runner(tmp_path / "nowhere", runtime="onnx", num_threads=1, workdir=tmp_path)


def test_more_tokens_than_the_model_has_positions_for(tmp_path: Path):
    save(tiny_model("roberta"), None, tmp_path / "model", card={}, check_reload=False)
    with pytest.raises(ModelError, match=r"length 39 is more than .*model can read \(38 tokens\)"):
        bench(
            [tmp_path / "model"],
            runtimes=["torch"],
            batch=1,
            length=39,
            num_threads=1,
            repeats=3,
            workdir=tmp_path / "work",
        )

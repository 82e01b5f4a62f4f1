"""The test rows of today, and what a model answers in this process."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from secateur.errors import ProjectError
from secateur.gate.condition import JudgedRows
from secateur.inference.latency import torch_threads
from secateur.registry.fresh_process import Answer, ask_folder
from secateur.workflow.project import Project

TEST_TABLE = "data/clean/test.parquet"
LABELS = "data/clean/labels.json"


def read_judged_rows(project: Project) -> JudgedRows:
    """Read them.

    Raises:
        ProjectError: they are not here.
    """
    table, labels = project.root / TEST_TABLE, project.root / LABELS
    for file in (table, labels):
        if not file.is_file():
            raise ProjectError(f"no test rows to judge on: {file} is missing; `secateur run` or `dvc pull` brings it")
    columns = pq.read_table(table, columns=["text", "label"]).to_pydict()
    return JudgedRows(
        texts=columns["text"],
        labels=np.asarray(columns["label"]),
        names=tuple(json.loads(labels.read_text(encoding="utf-8"))),
        md5=hashlib.md5(table.read_bytes(), usedforsecurity=False).hexdigest(),
    )


def answers_here(folder: Path, texts: Sequence[str], *, num_threads: int) -> list[Answer]:
    """Load a verified folder in this process and ask it, as ``answers_of_folder`` does in another."""
    with torch_threads(num_threads):
        return [Answer(**entry) for entry in ask_folder(folder, texts)]

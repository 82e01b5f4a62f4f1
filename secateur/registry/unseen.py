"""Test rows that a model can be judged on: those that its own build kept away from training.

A new data version is split anew, so that a champion from before has been trained on some of today's test rows. Judged
on them it would look better than it is, and no challenger would ever be promoted.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from secateur.data.learned_rows import LEARNED
from secateur.errors import ProjectError
from secateur.gate.condition import JudgedRows
from secateur.registry.lock import outputs_of
from secateur.registry.measurement import TEST_TABLE
from secateur.workflow.project import Project


def unseen_by(project: Project, rows: JudgedRows, *, stages: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Return which test rows the build of a version neither trained nor validated on, (rows,).

    All of them when it kept the same rows for the test. Otherwise the texts of its training and validation tables are
    looked up in DVC's cache or remote.

    Args:
        project: its DVC store is asked.
        rows: of today.
        stages: of the dvc.lock that was stored with the build.

    Raises:
        ProjectError: nobody knows, because the lock or the tables are gone.
        CheckFailed: DVC holds other bytes than the lock says.
    """
    outputs = outputs_of(stages, "clean")
    if outputs.get(TEST_TABLE) == rows.md5:
        return np.ones(len(rows.texts), np.bool_)
    digests = [outputs.get(path) for path in LEARNED]
    if None in digests:
        raise ProjectError("no dvc.lock with its data was stored with the build")
    seen = _texts_of(project, [str(digest) for digest in digests])
    return np.array([text not in seen for text in rows.texts], np.bool_)


def _texts_of(project: Project, digests: Sequence[str]) -> set[str]:
    from secateur.workflow.dvc_store import DvcStore

    store, texts = DvcStore(project), set[str]()
    with tempfile.TemporaryDirectory() as folder:
        for digest in digests:
            table = Path(folder) / digest
            store.fetch(digest, table, what="rows of an earlier build")
            texts |= set(pq.read_table(table, columns=["text"]).column("text").to_pylist())
    return texts

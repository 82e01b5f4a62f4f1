"""Where ONNX exports lie between the stages that need them: one takes longer than everything done with it."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur.files import remove
from secateur.workflow.job import Job

EXPORTS = "exports"


@contextmanager
def exports_of(job: Job) -> Iterator[Path]:
    """Yield the folder of the effect ``exports``, or a temporary one when the stage declares none."""
    kept = job.effects.get(EXPORTS)
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    kept.mkdir(parents=True, exist_ok=True)
    yield kept


def remove_other_exports(folder: Path, checkpoints: Iterable[Path]) -> None:
    """Keep the exports of today's checkpoints, and no others: each is as large as its checkpoint."""
    from secateur.inference.runners import export_name

    names = tuple(export_name(checkpoint) for checkpoint in checkpoints)
    for found in folder.iterdir():
        if not found.name.startswith(names):
            remove(found)

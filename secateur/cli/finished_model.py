"""A finished model that a command is given: where it lies, of what kind it is, and how it is opened."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secateur.errors import CheckpointError, ModelError

if TYPE_CHECKING:
    from secateur.config.base import Runtime
    from secateur.kinds.base import Kind

RUNTIME = click.option(
    "--runtime",
    type=click.Choice(("torch", "onnx", "onnx-int8")),
    help="What runs the model; it is exported for the time of the command where that is needed.",
)
THREADS = click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores unless given.")
TEXT_COLUMN = click.option(
    "--text-column",
    "text_columns",
    multiple=True,
    default=("text",),
    show_default=True,
    help="Column of the texts; of pairs given twice.",
)
LABEL_COLUMN = click.option(
    "--label-column",
    "label_columns",
    multiple=True,
    help="Column of the labels; label unless given. Of several labels a column of lists, or given once for each of the "
    "columns of 0 and 1.",
)


@dataclass(frozen=True)
class Finished:
    """A model whose files fit its card or its version.

    Attributes:
        checkpoint: what is exported; for an ONNX folder, that folder.
        folder: in the form that is deployed.
        kind: of the task that it is for.
        num_texts: of a row that it reads, 1 or 2; None where nobody knows.
    """

    checkpoint: Path
    folder: Path
    kind: "Kind"
    num_texts: int | None


def find_finished(model: str) -> Finished:
    """Find what a user names: a checkpoint, an ONNX folder, a folder that somebody saved, or ``models:/name@alias``.

    Raises:
        CheckpointError, ModelError: there is none, it is damaged, or of a kind that is not supported.
    """
    from secateur.models.card import CARD
    from secateur.models.checkpoint import kind_of_folder
    from secateur.models.folders import card_of, require_model_folder
    from secateur.registry.model_source import SCHEME, resolve

    if not model.startswith(SCHEME) and Path(model).is_dir():
        require_model_folder(model)  # it says which folder inside would do
    plain = not model.startswith(SCHEME) and (Path(model) / "config.json").is_file()
    if plain and not (Path(model) / CARD).exists():
        checkpoint = folder = Path(model)  # nothing to compare it with
    else:
        resolved = resolve(None, model)
        checkpoint, folder = resolved.checkpoint, resolved.folder
    card = card_of(folder, verified=True)
    return Finished(checkpoint, folder, kind_of_folder(folder, card), card.num_texts)


@contextmanager
def opened(found: Finished, *, runtime: "Runtime | None" = None, num_threads: int | None = None) -> Iterator[Any]:
    """Yield the open model, see ``Kind.open_model``.

    Args:
        found: the model.
        runtime: None takes the form that is deployed.
        num_threads: CPU threads; None takes all cores.

    Raises:
        CheckpointError: the folder is for another runtime, and holds nothing that can be exported.
        ModelError: its kind does not run there.
    """
    from secateur.inference.latency import torch_threads

    threads = num_threads or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as exports, torch_threads(threads):
        folder = _in_form(found, runtime, Path(exports))
        yield found.kind.open_model(folder, num_threads=threads, verify=False)


def _in_form(found: Finished, runtime: "Runtime | None", exports: Path) -> Path:
    from secateur.inference.runners import exported_folder, held_runtime

    if runtime is None or held_runtime(found.folder) == runtime:
        return found.folder
    if runtime == "onnx-int8" and found.kind.full_precision:
        raise ModelError(
            f"--runtime {runtime}: a model for {found.kind.name} keeps its precision; torch or onnx would work"
        )
    if (held := held_runtime(found.checkpoint)) != "torch":
        raise CheckpointError(
            f"{found.checkpoint} holds a model for {held}, asked for {runtime}; name the checkpoint that it is an "
            "export of"
        )
    return exported_folder(found.checkpoint, runtime=runtime, workdir=exports)

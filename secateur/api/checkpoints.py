"""``secateur.load``, ``save``, ``export``, ``sentence_transformer``: models in memory, and their folders."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.api.given import copied
from secateur.api.result import Pruned
from secateur.determinism import fingerprint
from secateur.errors import CheckpointError, ConfigError, ProjectError
from secateur.families import family_of
from secateur.files import replacing
from secateur.formats.numpy_export import export_numpy
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.kinds.registry import kind_of_config
from secateur.models import checkpoint
from secateur.models.heads import head_of
from secateur.models.surgery import widths_of
from secateur.pruning.state_files import write_state
from secateur.registry.model_source import SCHEME, resolve
from secateur.workflow.project import Project, find_project
from secateur.workflow.tracking_server import URI_VARIABLE

Model: TypeAlias = "PreTrainedModel | Pruned | str | Path"
"""A model in memory, what ``prune`` returned, or a folder."""
Target = Literal["onnx", "padded", "numpy"]


def load(path: str | Path, *, verify: bool = True) -> PreTrainedModel:
    """Load a folder as an ordinary transformers model in evaluation mode, with the widths that it was saved with.

    Its tokenizer, where it was saved with one, is read by ``transformers.AutoTokenizer.from_pretrained(path)``.

    Args:
        path: a folder of ``save``, of a project, or of ``save_pretrained``, dense or pruned; or a registered version
            (``models:/name@alias``, ``models:/name/3``): of the registry that MLFLOW_TRACKING_URI names, or of the
            project around the current folder. No code that is stored there is run.
        verify: compare every file with the digest that the card lists first. A version's are always compared, with
            what was registered, and its signature is asked for where SECATEUR_VERIFY_KEY is set.

    Raises:
        CheckpointError: the folder is no checkpoint, or a file is missing or differs; it is named.
        CheckFailed: a version is not what was registered, or not signed.
        ModelError: the architecture or its head is not supported; or there is no such version (``NotRegistered``).
        ProjectError: there is no registry.
    """
    if not str(path).startswith(SCHEME):
        return checkpoint.load(path, verify=verify)
    with ExitStack() as stack:
        resolved = resolve(_project(stack), str(path))
        stack.callback(resolved.close)
        return checkpoint.load(resolved.checkpoint)


def _project(stack: ExitStack) -> Project:
    """Return the project around the current folder; where a registry is named that needs none, an empty one."""
    try:
        return find_project()
    except ProjectError:
        if URI_VARIABLE not in os.environ:
            raise
        return Project(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secateur-"))))


def save(
    model: PreTrainedModel | Pruned, path: str | Path, *, tokenizer: PreTrainedTokenizerBase | None = None
) -> Path:
    """Write a checkpoint: weights, config, tokenizer, and a card with the digest of every file.

    A fresh process loads it and compares the logits bit by bit before the folder gets its name. ``secateur.load`` and
    every command (``inspect``, ``bench``, ``export``, ``predict``, ``prune``) read it, without a project.

    Args:
        model: a model in memory, or what ``prune`` returned: then the card says how it was pruned. A model that was
            trained further is saved as itself, ``result.model``.
        path: folder to write; it must not exist.
        tokenizer: saved beside the model; ``predict`` needs one.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder exists, or what was written does not load to the same logits.
        ModelError: the model is of no supported family.
    """
    folder = Path(path)
    if folder.exists():
        raise CheckpointError(f"{folder} exists already; name a new folder")
    with replacing(folder) as written:
        _write(model, written, tokenizer=tokenizer, check_reload=True)
    return folder


def export(
    model: Model,
    path: str | Path,
    *,
    to: Target = "onnx",
    int8: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Write a model for ONNX Runtime, padded with zeros for plain transformers, or for numpy; the logits are compared.

    Args:
        model: in memory, what ``prune`` returned, or a folder.
        path: folder to write; it must not exist.
        to: ``onnx`` (``model.onnx`` with dynamic batch and length), ``padded`` (``from_pretrained`` loads it) or
            ``numpy`` (a static student that ``reader.py`` beside it answers from).
        int8: quantise the weights to int8 (onnx only).
        tokenizer: saved beside it, for a model in memory.

    Returns:
        ``model.onnx``, or the folder.

    Raises:
        CheckpointError: the folder exists, or the model cannot be read.
        ConfigError: there is no such target.
        ModelError: the export does not give the logits of the model.
    """
    if to not in get_args(Target):
        raise ConfigError(f"to={to!r}: {' or '.join(get_args(Target))} would work")
    if int8 and to != "onnx":
        raise ConfigError("int8 goes with to='onnx'")
    out = Path(path)
    if out.exists():
        raise CheckpointError(f"{out} exists already; name a new folder")
    with _as_folder(model, tokenizer=tokenizer) as folder:
        if to == "onnx":
            return export_onnx(folder, out, int8=int8)
        return export_padded(folder, out) if to == "padded" else export_numpy(folder, out)


def sentence_transformer(path: str | Path, **options: Any) -> Any:
    """Load an embedding model, pruned or dense, as a ``SentenceTransformer`` with the widths that it was saved with.

    It encodes, is trained and saved as any other; ``sentence_transformer``, ``load`` and every command read what its
    ``save`` writes. ``SentenceTransformer(path)`` itself reads a padded folder (``export(..., to="padded")``); of a
    pruned one it asks to trust remote code, because the class that reads it is of this package.

    Args:
        path: a folder.
        options: what ``SentenceTransformer`` takes: ``device``, ``prompts``, ``similarity_fn_name``.

    Raises:
        CheckpointError: the folder is no checkpoint, or a file is missing or differs; it is named.
        ModelError: the folder holds no embedding model.
        ConfigError: sentence-transformers is not installed.
    """
    if find_spec("sentence_transformers") is None:
        raise ConfigError("sentence_transformer: sentence-transformers is not installed; pip install it first")
    from secateur.formats.sentence_transformers import as_sentence_transformer

    return as_sentence_transformer(Path(path), **options)


@contextmanager
def _as_folder(model: Model, *, tokenizer: PreTrainedTokenizerBase | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield folder_of(model, Path(scratch) / "model", tokenizer=tokenizer)


def folder_of(model: Model, place: Path, *, tokenizer: PreTrainedTokenizerBase | None = None) -> Path:
    """Return the folder of a model; one in memory is written to a place that does not last."""
    if isinstance(model, str | Path):
        return Path(model)
    _write(model, place, tokenizer=tokenizer, check_reload=False)
    return place


def _write(
    model: PreTrainedModel | Pruned,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    check_reload: bool,
) -> None:
    whole = model if isinstance(model, Pruned) else None
    kept = copied(model.model if isinstance(model, Pruned) else model)
    facts = _facts(kept) if whole is None else {**_facts(kept), **whole._card}
    checkpoint.save(
        kept,
        tokenizer,
        folder,
        card=facts,
        check_reload=check_reload,
        beside=None if whole is None else lambda path: write_state(path, whole._state),
    )


def _facts(model: PreTrainedModel) -> dict[str, Any]:
    """Return what a card says of any model."""
    config, family = model.config, family_of(model)
    kind, names = kind_of_config(config), head_of(model).labels(config)
    labels = {"labels": names} if names else {}
    return {
        "stage": "api",
        "key": None,
        "task": None if kind is None else kind.name,
        "state": "dense" if family.is_dense(config) else "compact",
        "inputs": {},
        "fingerprint": fingerprint(constraints=None),
        "max_length": family.max_tokens(config),
        "text_rules": None,
        "widths": widths_of(model).as_dict(),
        "dense_widths": family.dense_widths(config).as_dict(),
        **labels,
    }

"""What a baseline or a prune starts from: plain Hugging Face folders, dense checkpoints, configs alone."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.families import FAMILIES, family_of
from secateur.models.card import CARD, verify
from secateur.models.construction import UNUSABLE, one_line, quiet, read_config
from secateur.models.folders import stored_dtype, variant_of, weight_files, wrapper_of
from secateur.models.heads import VECTORS, head_of, labels_texts, pad_with_, require_finished
from secateur.models.limits import check_finite
from secateur.models.pooling import forget_pooling_, take_pooling_

_NUMBER = re.compile(r"\d+")


def task_config(path: str | Path, *, labels: Sequence[str] | None, problem_type: str | None = None) -> PreTrainedConfig:
    """Read the config of a base folder as that of the model that a baseline makes of it.

    Args:
        path: the folder.
        labels: names of a row's logits, in index order; none for an embedding model, None for a causal language model.
        problem_type: of the kind of task, see ``Kind.problem_type``.

    Raises:
        ModelError: the architecture is not supported, writes no text, has no classifiers, or no padding token to
            classify with.
        CheckpointError: there is no config, or it cannot be read.
    """
    config = read_config(Path(path))
    family = family_of(config)
    if labels is None:
        if not family.generates:
            raise ModelError(f"{path}: {config.model_type} models write no text; {_generators()} do")
        config.architectures = None
        return config
    if not labels:
        if family.generates:
            raise ModelError(f"{path}: {config.model_type} models are decoders; encoders embed texts")
        config.architectures = [f"{config.model_type}Model"]
        take_pooling_(config, Path(path))
        return config
    if not labels_texts(type(config)):
        raise ModelError(
            f"{path}: transformers has no classifier of {config.model_type} models, which continue texts "
            "(run.task: generation)"
        )
    forget_pooling_(config)
    config.architectures = [f"{config.model_type}ForSequenceClassification"]
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = problem_type
    pad_with_(config, None, Path(path))
    return config


def load_base(
    path: str | Path, *, labels: Sequence[str] | None = None, problem_type: str | None = None, scratch: bool = False
) -> PreTrainedModel:
    """Make a classifier with a fresh head, or a causal language model, from a pretrained folder; fp32, eval mode.

    A fresh head (and with ``scratch`` every weight) is drawn from torch's global generator: seed it before. A
    language model without a head of its own gets its token embeddings for one.

    Args:
        path: folder with ``config.json`` and, unless ``scratch``, ``model.safetensors``: a plain one, or a dense
            checkpoint of ours, whose digests are checked.
        labels: names of a row's logits, in index order; none for an embedding model, None for a causal language model.
        problem_type: of the kind of task, see ``Kind.problem_type``.
        scratch: build from the config alone.

    Raises:
        ModelError: the architecture is not supported, the model is pruned already, or its weights do not fit.
        CheckpointError: there is no config, or a file differs from its digest.
    """
    folder = Path(path)
    config = task_config(folder, labels=labels, problem_type=problem_type)
    if not family_of(config).is_dense(config):
        raise ModelError(f"{folder} is already pruned; a baseline starts from a dense model")
    if not scratch and (folder / CARD).is_file():
        verify(folder)
    with quiet():
        if scratch:
            return _prepared(head_of(config).auto.from_config(config, dtype=torch.float32))
        return _from_pretrained(folder, config, dtype=torch.float32)


def load_finished(path: str | Path) -> PreTrainedModel:
    """Load a dense classifier, embedding or causal language model as Hugging Face saved it, with its head; eval mode.

    The weights keep the type that they were saved in.

    Raises:
        ModelError: the architecture is not supported, or tensors are missing or do not fit, the head's included.
        CheckpointError: there is no config, or it cannot be read.
    """
    folder = Path(path)
    config = read_config(folder)
    require_finished(config, folder)
    if head_of(config) is VECTORS:
        take_pooling_(config, folder)
    with quiet():
        return _from_pretrained(folder, config, dtype=stored_dtype(folder), fresh_head=False)


def _from_pretrained(
    folder: Path, config: PreTrainedConfig, *, dtype: torch.dtype, fresh_head: bool = True
) -> PreTrainedModel:
    model_head = head_of(config)
    files = weight_files(folder)
    stored_dtype(folder)
    try:
        model, report = model_head.auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            variant=variant_of(files),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
        )
    except (*UNUSABLE, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{files[0]} cannot be loaded: {one_line(error)}") from error
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise ModelError(f"{files[0]} does not fit: {name} has shape {tuple(found)}, and {tuple(wanted)} is needed")
    _refuse_more_layers(model, report["unexpected_keys"], file=files[0])
    head = {id(parameter) for module in family_of(model).head(model) for parameter in module.parameters()}
    may_miss = head if fresh_head and not model_head.per_token else set()
    missing = [name for name in sorted(report["missing_keys"]) if id(model.get_parameter(name)) not in may_miss]
    if missing:
        what = "pretrained tensors" if fresh_head else "tensors of a finished model"
        hint = wrapper_of(report["unexpected_keys"])
        raise ModelError(f"{files[0]} lacks {len(missing)} {what}, the first is {missing[0]}{hint}")
    check_finite(folder, dict(model.named_parameters()))
    return _prepared(model)


def _refuse_more_layers(model: PreTrainedModel, surplus: Iterable[str], *, file: Path) -> None:
    """Refuse tensors of layers that the config does not count; others, such as another task's head, do no harm."""
    known = {_NUMBER.sub("#", name) for name in model.state_dict()}
    more = [name for name in sorted(surplus) if _NUMBER.sub("#", name) in known]
    if more:
        raise ModelError(f"{file} holds {more[0]} ({len(more)} such tensors), a layer that config.json does not count")


def _prepared(model: PreTrainedModel) -> PreTrainedModel:
    family_of(model).prepare_(model)
    model.config.architectures = [type(model).__name__]
    return model.eval()


def _generators() -> str:
    return ", ".join(sorted(name for name, family in FAMILIES.items() if family.generates))

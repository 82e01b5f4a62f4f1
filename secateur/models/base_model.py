"""What a baseline or a prune starts from: plain Hugging Face folders, dense checkpoints, configs alone."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.models.card import CARD, verify
from secateur.models.construction import CONFIG, WEIGHTS, one_line, quiet, read_config
from secateur.models.families import FAMILIES, family_of, is_generator


def task_config(path: str | Path, *, labels: Sequence[str] | None) -> PreTrainedConfig:
    """Read the config of a base folder as that of the model that a baseline makes of it.

    Args:
        path: the folder.
        labels: names of the classes, in index order; None for a causal language model.

    Raises:
        ModelError: the architecture is not supported, writes no text, or has no padding token to classify with.
        CheckpointError: there is no config, or it cannot be read.
    """
    config = read_config(Path(path))
    family = family_of(config)
    if labels is None:
        if not family.generates:
            raise ModelError(f"{path}: {config.model_type} models write no text; {_generators()} do")
        config.architectures = None
        return config
    config.architectures = [f"{config.model_type}ForSequenceClassification"]
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    if family.generates and config.pad_token_id is None:
        # The head reads the last token that is no padding. The end of a text may serve: it is read at its first one.
        end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
        if end is None:
            raise ModelError(f"{path} names neither pad_token_id nor eos_token_id in {CONFIG}; a classifier needs one")
        config.pad_token_id = end
    return config


def load_base(path: str | Path, *, labels: Sequence[str] | None = None, scratch: bool = False) -> PreTrainedModel:
    """Make a classifier with a fresh head, or a causal language model, from a pretrained folder; fp32, eval mode.

    A fresh head (and with ``scratch`` every weight) is drawn from torch's global generator: seed it before. A
    language model without a head of its own gets its token embeddings for one.

    Args:
        path: folder with ``config.json`` and, unless ``scratch``, ``model.safetensors``: a plain one, or a dense
            checkpoint of ours, whose digests are checked.
        labels: names of the classes, in index order; None for a causal language model.
        scratch: build from the config alone.

    Raises:
        ModelError: the architecture is not supported, the model is pruned already, or its weights do not fit.
        CheckpointError: there is no config, or a file differs from its digest.
    """
    folder = Path(path)
    config = task_config(folder, labels=labels)
    if not family_of(config).is_dense(config):
        raise ModelError(f"{folder} is already pruned; a baseline starts from a dense model")
    if not scratch and (folder / CARD).is_file():
        verify(folder)
    with quiet():
        if scratch:
            auto = AutoModelForCausalLM if labels is None else AutoModelForSequenceClassification
            return _prepared(auto.from_config(config, dtype=torch.float32))
        if not (folder / WEIGHTS).is_file():
            raise ModelError(f"{folder} has no {WEIGHTS} (pickled weights are not read); scratch:FILE needs none")
        return _from_pretrained(folder, config)


def load_finished(path: str | Path) -> PreTrainedModel:
    """Load a classifier or causal language model from a plain Hugging Face folder, with its head; fp32, eval mode.

    Raises:
        ModelError: the architecture is not supported, or tensors are missing or do not fit, the head's included.
        CheckpointError: there is no config, or it cannot be read.
    """
    folder = Path(path)
    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder} has no {WEIGHTS} (pickled weights are not read)")
    with quiet():
        return _from_pretrained(folder, config, fresh_head=False)


def _from_pretrained(folder: Path, config: PreTrainedConfig, *, fresh_head: bool = True) -> PreTrainedModel:
    generator = is_generator(config)
    auto = AutoModelForCausalLM if generator else AutoModelForSequenceClassification
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be loaded: {one_line(error)}") from error
    head = {id(parameter) for module in family_of(model).head(model) for parameter in module.parameters()}
    may_miss = head if fresh_head and not generator else set()
    missing = [name for name in sorted(report["missing_keys"]) if id(model.get_parameter(name)) not in may_miss]
    if missing:
        what = "pretrained tensors" if fresh_head else "tensors of a finished model"
        raise ModelError(f"{folder / WEIGHTS} lacks {len(missing)} {what}, the first is {missing[0]}")
    return _prepared(model)


def _prepared(model: PreTrainedModel) -> PreTrainedModel:
    family_of(model).prepare_(model)
    model.config.architectures = [type(model).__name__]
    return model.eval()


def _generators() -> str:
    return ", ".join(sorted(name for name, family in FAMILIES.items() if family.generates))

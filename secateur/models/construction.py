"""Building models from a config and tensors: shapes first, weights once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
import transformers
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from secateur.errors import CheckpointError, ModelError
from secateur.models.card import CARD, verify
from secateur.models.families import FAMILIES, family_named, family_of, is_generator
from secateur.models.linears import linear_from
from secateur.models.structures import Ffn, Widths

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def read_config(folder: Path) -> PreTrainedConfig:
    """Read ``config.json`` of a supported architecture; nothing is downloaded, no remote code runs.

    Raises:
        ModelError: the architecture is not supported.
        CheckpointError: there is no config, or it cannot be read.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise CheckpointError(f"{folder} holds no model: it has no {CONFIG}")
    try:
        model_type = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is not the config of a model: no model_type can be read") from error
    try:
        family_named(model_type)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        family_of(config).widths(config)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    except (ValueError, TypeError, AttributeError, OSError, StrictDataclassError) as error:
        raise CheckpointError(f"{file} cannot be used: {_one_line(error)}") from error
    return config


def build(config: PreTrainedConfig, tensors: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    """Build a model with the config's widths around existing tensors; the result is in eval mode.

    It is a causal language model or a classifier, as the config's ``architectures`` say.

    Parameters are made on the meta device and replaced by ``tensors``, so no initial weight is drawn; buffers
    that are not saved (position ids) are computed as usual.

    Raises:
        CheckpointError: names or shapes of the tensors do not fit the config.
    """
    family = family_of(config)
    auto = AutoModelForCausalLM if is_generator(config) else AutoModelForSequenceClassification
    with init_empty_weights(include_buffers=False):
        model: PreTrainedModel = auto.from_config(family.buildable(config))
        family.prepare_(model)
        _shape_(model, family.widths(config))
    family.take_widths_(model.config, config)
    _check_fit(model, tensors)
    # What is tied is not in the file.
    model.load_state_dict(tensors, strict=False, assign=True)
    family.tie_(model)
    model.eval()
    return model


def tied_names(model: PreTrainedModel) -> frozenset[str]:
    """Return the names in the state whose tensors stand there under another name already."""
    return frozenset(model.all_tied_weights_keys) if is_generator(model) else frozenset()


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read ``model.safetensors`` into memory of torch's own.

    A memory map would be faster, but its alignment can change the last bits of a matrix product, and it would
    follow a file that is replaced in place.

    Raises:
        CheckpointError: the file is missing or cannot be read.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{folder} holds no weights: it has no {WEIGHTS} (other formats are not read)")
    try:
        tensors = safetensors.torch.load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged: {_one_line(error)}") from error
    return {name: tensor.clone() for name, tensor in tensors.items()}


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
        raise ModelError(f"{folder / WEIGHTS} cannot be loaded: {_one_line(error)}") from error
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


def _shape_(model: PreTrainedModel, widths: Widths) -> None:
    """Replace the projections of a model without weights by narrower ones."""
    family = family_of(model)
    for index, (layer, heads, ffn) in enumerate(zip(family.layers(model), widths.heads, widths.ffn, strict=True)):
        attention = replace(layer.attention, head_dim=widths.head_dim)
        features, keys = heads * attention.unit_size, heads * attention.head_dim
        if (heads, widths.head_dim) != (layer.attention.num_heads, layer.attention.head_dim):
            narrow = replace(
                attention,
                query=_resized(attention.query, rows=features),
                key=_resized(attention.key, rows=keys),
                value=_resized(attention.value, rows=keys),
                output=_resized(attention.output, columns=features),
            )
            family.replace_attention_(model, index, narrow)
        if ffn != layer.ffn.width:
            ups = tuple(_resized(up, rows=ffn) for up in layer.ffn.up)
            family.replace_ffn_(model, index, Ffn(up=ups, down=_resized(layer.ffn.down, columns=ffn)))


def _resized(linear: nn.Linear, *, rows: int | None = None, columns: int | None = None) -> nn.Linear:
    rows = linear.out_features if rows is None else rows
    columns = linear.in_features if columns is None else columns
    bias = None if linear.bias is None else torch.empty(rows, device="meta")
    return linear_from(torch.empty(rows, columns, device="meta"), bias)


def _check_fit(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    left_out = tied_names(model)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name not in left_out}
    if missing := sorted(set(expected) - set(tensors)):
        raise CheckpointError(f"{WEIGHTS} does not fit {CONFIG}: it lacks {missing[0]} ({len(missing)} missing)")
    if surplus := sorted(set(tensors) - set(expected)):
        raise CheckpointError(f"{WEIGHTS} does not fit {CONFIG}: {surplus[0]} is not part of the model")
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{WEIGHTS} does not fit {CONFIG}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the config asks for {tuple(tensor.shape)}"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Mute transformers' progress bars and its table about weights that are missing on purpose."""
    before = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

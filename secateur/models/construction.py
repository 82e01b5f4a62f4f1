"""Building models from a config and tensors: shapes first, weights once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
import transformers
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from secateur.errors import CheckpointError, ModelError
from secateur.models.families import family_named, family_of
from secateur.models.structures import Attention, Ffn, Widths
from secateur.models.surgery import linear_from

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
    """Build a classifier with the config's widths around existing tensors; the result is in eval mode.

    Parameters are made on the meta device and replaced by ``tensors``, so no initial weight is drawn; buffers
    that are not saved (position ids) are computed as usual.

    Raises:
        CheckpointError: names or shapes of the tensors do not fit the config.
    """
    family = family_of(config)
    dense = family.dense_widths(config)
    # transformers wants heads that divide the hidden size; one always does.
    plain = dense.heads[0] * dense.head_dim == family.hidden_size(config)
    uniform = family.uniform_config(config, heads=dense.heads[0] if plain else 1, ffn=dense.ffn[0])
    with init_empty_weights(include_buffers=False):
        model = AutoModelForSequenceClassification.from_config(uniform)
        _shape_(model, family.widths(config))
    family.take_widths_(model.config, config)
    _check_fit(model, tensors)
    model.load_state_dict(tensors, strict=True, assign=True)
    model.eval()
    return model


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


def load_base(path: str | Path, *, labels: Sequence[str], scratch: bool = False) -> PreTrainedModel:
    """Make a classifier with a fresh head from a pretrained folder; fp32, eval mode.

    The head (and with ``scratch`` every weight) is drawn from torch's global generator: seed it before.

    Args:
        path: folder with ``config.json`` and, unless ``scratch``, ``model.safetensors``.
        labels: names of the classes, in index order.
        scratch: build from the config alone.

    Raises:
        ModelError: the architecture is not supported, the model is pruned already, or its weights do not fit.
    """
    folder = Path(path)
    config = read_config(folder)
    dense = family_of(config).dense_widths(config)
    if config.is_heterogeneous or dense.heads[0] * dense.head_dim != family_of(config).hidden_size(config):
        raise ModelError(f"{folder} is already pruned; a baseline starts from a dense model")
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    with quiet():
        if scratch:
            return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()
        if not (folder / WEIGHTS).is_file():
            raise ModelError(f"{folder} has no {WEIGHTS} (pickled weights are not read); scratch:FILE needs none")
        return _from_pretrained(folder, config)


def load_classifier(path: str | Path) -> PreTrainedModel:
    """Load a finished classifier from a plain Hugging Face folder, with the head it was trained with; fp32, eval mode.

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
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
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
    may_miss = head if fresh_head else set()
    missing = [name for name in sorted(report["missing_keys"]) if id(model.get_parameter(name)) not in may_miss]
    if missing:
        what = "pretrained tensors" if fresh_head else "tensors of a finished classifier"
        raise ModelError(f"{folder / WEIGHTS} lacks {len(missing)} {what}, the first is {missing[0]}")
    return model.eval()


def _shape_(model: PreTrainedModel, widths: Widths) -> None:
    """Replace the projections of a model without weights by narrower ones."""
    family = family_of(model)
    for index, (layer, heads, ffn) in enumerate(zip(family.layers(model), widths.heads, widths.ffn, strict=True)):
        attention, features = layer.attention, heads * widths.head_dim
        if (heads, widths.head_dim) != (attention.num_heads, attention.head_dim):
            rows = [_resized(linear, rows=features) for linear in (attention.query, attention.key, attention.value)]
            output = _resized(attention.output, columns=features)
            narrow = Attention(rows[0], rows[1], rows[2], output, head_dim=widths.head_dim)
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
    expected = model.state_dict()
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

"""Building models from a config and tensors: shapes first, weights once."""

import codecs
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
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import Chunk, WeightConverter, WeightRenaming

from secateur.errors import CheckpointError, ModelError
from secateur.families import family_named, family_of, is_static
from secateur.families.linears import linear_from
from secateur.families.structures import HEAD_NUMBERS, Ffn, Widths
from secateur.files import is_lfs_pointer
from secateur.models.folders import (
    CONFIG,
    WEIGHTS,
    check_weights_are_plain,
    require_model_folder,
    stored_dtype,
    weight_files,
    wrapper_of,
)
from secateur.models.heads import head_of
from secateur.models.limits import check_asked, check_finite

UNUSABLE = (
    LookupError, ArithmeticError, ValueError, TypeError, AttributeError, AssertionError, ImportError, OSError,
    RecursionError, StrictDataclassError,
)  # fmt: skip
"""What reading a config, or building a model from it, raises when its values make no sense together."""


def read_config(folder: Path) -> PreTrainedConfig:
    """Read ``config.json`` of a supported architecture; nothing is downloaded, no remote code runs.

    Raises:
        ModelError: the architecture is not supported.
        CheckpointError: there is no config, it cannot be read, or it asks for what no model has.
    """
    file = require_model_folder(folder) / CONFIG
    try:
        _refuse_other_files(file)
        values = json.loads(file.read_text(encoding="utf-8"))
        model_type = values["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file} is not the config of a model: no model_type can be read") from error
    check_weights_are_plain(file, values)
    check_asked(file, values)
    try:
        family_named(model_type)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        widths = family_of(config).widths(config)
        _name_labels_(config)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    except UNUSABLE as error:
        raise CheckpointError(f"{file} cannot be used: {one_line(error)}") from error
    if widths.num_layers == 0 and not is_static(config):
        raise ModelError(f"{file}: the model has no layers; one that has some can be used")
    return config


def _refuse_other_files(file: Path) -> None:
    """Refuse what stands in place of a config, or that editors of Windows saved with a mark, read as a letter.

    Raises:
        CheckpointError: it begins with a byte-order mark, or was not fetched.
    """
    if is_lfs_pointer(file):
        raise CheckpointError(f"{file} is a pointer of Git LFS, not the config; git lfs pull fetches it")
    if file.read_bytes()[:4].startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CheckpointError(
            f"{file} begins with a byte-order mark, which transformers does not read; saved as UTF-8 without one it "
            "would work"
        )


def _name_labels_(config: PreTrainedConfig) -> None:
    """Let every label be a text: some programs write numbers for names."""
    if any(not isinstance(name, str) for name in config.id2label.values()):
        config.id2label = {index: str(name) for index, name in config.id2label.items()}
        config.label2id = {name: index for index, name in config.id2label.items()}


def build(config: PreTrainedConfig, tensors: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    """Build a model with the config's widths around existing tensors; the result is in eval mode.

    It is a causal language model or a classifier, as the config's ``architectures`` say.

    Parameters are made on the meta device and replaced by ``tensors``, so no initial weight is drawn; buffers
    that are not saved (position ids) are computed as usual.

    Raises:
        CheckpointError: names or shapes of the tensors do not fit the config.
    """
    family = family_of(config)
    auto = head_of(config).auto
    try:
        with init_empty_weights(include_buffers=False):
            # Buffers are computed in full precision, whatever type the weights have.
            model: PreTrainedModel = auto.from_config(family.buildable(config), dtype=torch.float32)
            family.prepare_(model)
            _shape_(model, family.widths(config), dense_heads=max(family.dense_widths(config).heads, default=0))
    except (*UNUSABLE, RuntimeError) as error:
        raise CheckpointError(f"no model can be built from {CONFIG}: {one_line(error)}") from error
    model.config.dtype = config.dtype
    family.take_widths_(model.config, config)
    tensors = _without_copies(model, _renamed(model, tensors))
    _check_fit(model, tensors)
    # What is tied is not in the file.
    model.load_state_dict(tensors, strict=False, assign=True)
    _check_head_numbers(model)
    family.tie_(model)
    model.eval()
    return model


def tied_names(model: PreTrainedModel) -> frozenset[str]:
    """Return the names in the state whose tensors stand there under another name already."""
    return frozenset(head_of(model).tied(model))


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights, one file or its shards, into memory of torch's own.

    A memory map would be faster, but its alignment can change the last bits of a matrix product, and it would
    follow a file that is replaced in place.

    Raises:
        CheckpointError: a file is missing or cannot be read, or a weight is no number.
    """
    stored_dtype(folder)  # says which weights are of a type that nothing is computed with
    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        try:
            tensors |= safetensors.torch.load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file} is damaged: {one_line(error)}") from error
    check_finite(folder, tensors)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _renamed(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Call tensors what the model calls them: ``save_pretrained`` writes names that older versions read (GPT-NeoX).

    What it joins is divided again (NomicBERT): all of one size, whatever that is.
    """
    known = model.state_dict()
    if not set(tensors) - set(known):
        return tensors
    mapping = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [found for found in mapping if isinstance(found, WeightRenaming)]
    divisions = [found for found in mapping if isinstance(found, WeightConverter) and _divides_evenly(found)]

    def here(name: str) -> str:
        for renaming in () if name in known else renamings:
            name = renaming.rename_source_key(name)[0]
        return name

    return {
        part: piece
        for name, tensor in tensors.items()
        for part, piece in _divided(here(name), tensor, () if name in known else divisions)
    }


def _divides_evenly(converter: WeightConverter) -> bool:
    return [type(operation) for operation in converter.operations] == [Chunk]


def _divided(
    name: str, tensor: torch.Tensor, divisions: Sequence[WeightConverter]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a tensor, or the parts that it was joined from, under their names."""
    for division in divisions:
        first, found = division.rename_source_key(name)
        targets, dim = division.target_patterns, division.operations[0].dim
        if found is None or tensor.shape[dim] % len(targets):
            continue
        for target, piece in zip(targets, tensor.tensor_split(len(targets), dim=dim), strict=True):
            # A copy of its own: views would keep the whole alive, and be unaligned.
            yield first.replace(targets[0], target, 1), piece.clone(memory_format=torch.contiguous_format)
        return
    yield name, tensor


def _without_copies(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Leave out what is tied to another tensor and was saved all the same, when both are equal.

    Raises:
        CheckpointError: they are not.
    """
    tied = head_of(model).tied(model)
    for name, source in tied.items():
        if name in tensors and source in tensors and not torch.equal(tensors[name], tensors[source]):
            raise CheckpointError(
                f"{WEIGHTS} does not fit {CONFIG}: {name} and {source} differ, tie_word_embeddings says they are one"
            )
    return {name: tensor for name, tensor in tensors.items() if name not in tied or tied[name] not in tensors}


def _shape_(model: PreTrainedModel, widths: Widths, *, dense_heads: int) -> None:
    """Replace the projections of a model without weights by narrower ones."""
    family = family_of(model)
    if (table := family.head_table(model)) is not None:
        table.weight = nn.Parameter(torch.empty(table.num_embeddings, dense_heads, device="meta"))
        table.embedding_dim = dense_heads
    for index, (layer, heads, ffn) in enumerate(zip(family.layers(model), widths.heads, widths.ffn, strict=True)):
        attention = replace(layer.attention, head_dim=widths.head_dim)
        features, keys = heads * attention.unit_size, heads * attention.head_dim
        # All of them: what was built may have as many features, but of other heads.
        narrow = replace(
            attention,
            query=_resized(attention.query, rows=features),
            key=_resized(attention.key, rows=keys),
            value=_resized(attention.value, rows=keys),
            output=_resized(attention.output, columns=features),
            # Whose columns these are stands among the tensors.
            numbers=None if attention.numbers is None else tuple(range(heads)),
        )
        family.replace_attention_(model, index, narrow)
        if ffn != layer.ffn.width:
            ups = tuple(_resized(up, rows=ffn) for up in layer.ffn.up)
            family.replace_ffn_(model, index, Ffn(up=ups, down=_resized(layer.ffn.down, columns=ffn)))


def _check_head_numbers(model: PreTrainedModel) -> None:
    """Refuse heads that are no ascending choice of the columns of the table that all layers share.

    Raises:
        CheckpointError: naming the layer.
    """
    family = family_of(model)
    if (table := family.head_table(model)) is None:
        return
    for index, layer in enumerate(family.layers(model)):
        numbers = list(layer.attention.numbers or ())
        if numbers != sorted(set(numbers) & set(range(table.embedding_dim))):
            raise CheckpointError(
                f"{WEIGHTS} does not fit {CONFIG}: {HEAD_NUMBERS} of layer {index} are {numbers[:20]}; numbers of 0 to "
                f"{table.embedding_dim - 1}, ascending, would work"
            )


def _resized(linear: nn.Linear, *, rows: int | None = None, columns: int | None = None) -> nn.Linear:
    rows = linear.out_features if rows is None else rows
    columns = linear.in_features if columns is None else columns
    bias = None if linear.bias is None else torch.empty(rows, device="meta")
    return linear_from(torch.empty(rows, columns, device="meta"), bias)


def _check_fit(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    left_out = tied_names(model)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name not in left_out}
    if missing := sorted(set(expected) - set(tensors)):
        hint = wrapper_of(tensors)
        raise CheckpointError(f"{WEIGHTS} does not fit {CONFIG}: it lacks {missing[0]} ({len(missing)} missing){hint}")
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


def one_line(error: Exception) -> str:
    """Return an error's text without its line breaks, at most 300 characters."""
    return " ".join(str(error).split())[:300]

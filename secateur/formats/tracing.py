"""From models to ONNX graphs, unchecked: a classifier as a whole, a generator as one step with its cache."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from secateur.families import family_of
from secateur.formats.plain_operators import without_decompositions
from secateur.models.surgery import widths_of
from secateur.models.token_types import TYPES

INPUTS = ("input_ids", "attention_mask")
KEPT = "logits_to_keep"
LOGITS = "logits"
PAST, PRESENT = "past.", "present."


class _Logits(nn.Module):
    """A model as a function of two tensors, or of three where it reads pairs."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, types: torch.Tensor | None = None
    ) -> torch.Tensor:
        typed = {} if types is None else {TYPES: types}
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **typed).logits
        return logits


class _NoFeatures(nn.Module):
    """A linear without rows: its output is empty, whatever the input."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[..., :0]


class _OnlyBias(nn.Module):
    """A linear without columns: its output is its bias for every token."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.detach())

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        # Without the dimensions of the tokens: what it is added to has them.
        return self.bias


def _without_empty_products(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model, or a copy whose absent blocks leave no node but the addition of their bias.

    ONNX Runtime would run products over zero features, and its quantisation fails on weights without elements.
    """
    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    empty = [name for name, linear in linears if linear.weight.numel() == 0]
    if not empty:
        return model
    model = copy.deepcopy(model)
    for name in empty:
        linear = cast("nn.Linear", model.get_submodule(name))
        if linear.out_features == 0:
            model.set_submodule(name, _NoFeatures())
        else:
            bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
            model.set_submodule(name, _OnlyBias(bias))
    return model


def trace(model: PreTrainedModel, file: Path, *, typed: bool = False) -> None:
    """Write the graph of a model with dynamic batch and length, unchecked; ``typed`` takes token types as well."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    names = [*INPUTS, TYPES] if typed else [*INPUTS]
    # DYNAMIC lets the tracer find the bounds itself; named dimensions fail once and are traced again.
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _silence(), torch.inference_mode():
        module = _Logits(_without_empty_products(model)).eval()
        rows = (ids, *(torch.ones_like(ids) for _ in names[1:]))
        traced = torch.export.export(module, rows, dynamic_shapes=tuple(shape for _ in names))
        program = _program(traced, input_names=names, output_names=[LOGITS])
    _save(program, file)


class _Step(nn.Module):
    """A generator as a function of new tokens, the mask of all tokens, and keys and values of the old ones."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: torch.Tensor,
        past: list[torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        positions = (attention_mask.cumsum(dim=1) - 1).clamp_min(0)[:, -input_ids.shape[1] :]
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
        )
        states = [state for layer in outputs.past_key_values.layers for state in (layer.keys, layer.values)]
        return (outputs.logits, *states)


def cache_shapes(model: PreTrainedModel, *, batch: int, length: int) -> list[tuple[int, int, int, int]]:
    """Return the shapes of keys and values, layer after layer: ``(batch, keys, length, features)``.

    A layer without heads has one feature of one key there, which counts the tokens.
    """
    widths, keys = widths_of(model), family_of(model).keys_per_head(model.config)
    features = widths.head_dim // keys
    return [(batch, max(heads * keys, 1), length, features if heads else 1) for heads in widths.heads for _ in range(2)]


def trace_step(model: PreTrainedModel, file: Path) -> None:
    """Write the graph of one step of a generator with dynamic batch, length and cache, unchecked.

    Inputs: ``input_ids`` ``(batch, new)``, ``attention_mask`` ``(batch, old + new)``, ``logits_to_keep`` ``(kept,)``,
    the places of the new tokens behind which logits are wanted, and ``past.0``, ``past.1``, ..., keys and values of
    each layer, see ``cache_shapes``; without old tokens they are empty. Outputs: ``logits`` ``(batch, kept,
    vocabulary)``, and ``present.0``, ..., the ``past`` of the next step. Texts may be padded on the left.
    """
    generator = torch.Generator().manual_seed(0)
    past = [torch.randn(shape, generator=generator) for shape in cache_shapes(model, batch=2, length=5)]
    ids, any_size = torch.ones(2, 3, dtype=torch.int64), torch.export.Dim.DYNAMIC
    row, state = {0: any_size, 1: any_size}, {0: any_size, 2: any_size}
    with _silence(), torch.inference_mode():
        step = _Step(_without_empty_products(model)).eval()
        given = (ids, torch.ones(2, 8, dtype=torch.int64), torch.tensor([0, 2]), past)
        shapes = (row, row, {0: any_size}, [state for _ in past])
        program = _program(
            torch.export.export(step, given, dynamic_shapes=shapes),
            input_names=[*INPUTS, KEPT, *(f"{PAST}{place}" for place in range(len(past)))],
            output_names=[LOGITS, *(f"{PRESENT}{place}" for place in range(len(past)))],
        )
    _save(program, file)


def _program(
    traced: torch.export.ExportedProgram, *, input_names: Sequence[str], output_names: Sequence[str]
) -> torch.onnx.ONNXProgram:
    """Translate what was traced; the exporter traces it a second time only where it has to (half of an export)."""
    translate = partial(
        torch.onnx.export, dynamo=True, input_names=input_names, output_names=output_names, verbose=False
    )
    if (plain := without_decompositions(traced)) is not None:
        try:
            program = translate(plain)
        except torch.onnx.OnnxExporterError:
            program = None  # it knows an operator by its parts alone
        if program is not None:
            return program
    program = translate(traced)
    assert program is not None  # guaranteed by dynamo=True
    return program


def _save(program: torch.onnx.ONNXProgram, file: Path) -> None:
    outputs = set(program.model.graph.outputs)
    for node in program.model.graph.all_nodes():
        # The exporter notes stack traces with absolute paths at every node.
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in outputs:
                # Where ONNX Runtime knows the shapes it fuses sums and norms into SkipLayerNormalization, which is
                # slower than the two: 0.83 against 0.51 ms per call of 6 layers, whatever the widths.
                value.type, value.shape = None, None
    program.save(file, external_data=False)


@contextmanager
def _silence() -> Iterator[None]:
    """Mute the exporter's warnings about what is not installed and about its own deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

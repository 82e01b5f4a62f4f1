"""ONNX export with dynamic batch and length, checked against the checkpoint it came from; int8 by ONNX Runtime.

The export folder holds ``model.onnx``, the config and tokenizer of the checkpoint, and a card of its own.
"""

import copy
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from torch import nn
from transformers import PreTrainedModel

from secateur.errors import CheckpointError, ModelError
from secateur.files import replacing, sha256_file, write_json
from secateur.models.card import CARD, read_card
from secateur.models.checkpoint import load
from secateur.models.construction import WEIGHTS

ONNX_MODEL = "model.onnx"

# Sums of some hundred fp32 products in another order: 1e-7 was measured, logits are of order 1 to 10.
_TOLERANCE = 1e-4
_INPUTS = ("input_ids", "attention_mask")


def export_onnx(checkpoint: Path, out: Path, *, int8: bool = False) -> Path:
    """Export a checkpoint into a new folder and return the path of its ``model.onnx``.

    The inputs are ``input_ids`` and ``attention_mask``, int64 ``(batch, length)``; the output is ``logits``,
    float32 ``(batch, labels)``. The fp32 graph is run on random rows and compared with the checkpoint. int8 means
    dynamic quantisation of weights (embeddings too), activations are quantised while running.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ModelError: the exported graph does not give the logits of the checkpoint.
    """
    if int8:
        with tempfile.TemporaryDirectory() as scratch:
            export_onnx(checkpoint, Path(scratch) / "fp32")
            return quantize_onnx(Path(scratch) / "fp32", out)
    model = load(checkpoint)
    # Eager attention exports to fewer nodes than SDPA (220 against 292 for 6 layers) and runs 15 % faster.
    model.set_attn_implementation("eager")
    with replacing(out) as folder:
        folder.mkdir()
        trace(model, folder / ONNX_MODEL)
        _compare(model, folder / ONNX_MODEL)
        _copy_companions(checkpoint, folder)
        _write_card(folder, source=read_card(checkpoint), runtime="onnx")
    return out / ONNX_MODEL


def quantize_onnx(exported: Path, out: Path) -> Path:
    """Quantise an fp32 export folder to int8 into a new folder; return the path of its ``model.onnx``."""
    graph = onnx.load(exported / ONNX_MODEL)
    with replacing(out) as folder:
        folder.mkdir()
        quantize_(graph, folder / ONNX_MODEL)
        _copy_companions(exported, folder)
        _write_card(folder, source=read_card(exported), runtime="onnx-int8")
    return out / ONNX_MODEL


def quantize_(graph: onnx.ModelProto, file: Path) -> None:
    """Write a graph with its matrix products and embeddings in int8; the given one is used up."""
    # Without this tag the library warns through the root logger, which installs a handler there. What it asks
    # for, shape inference, is not needed to quantise matrix products and embeddings.
    add_pre_process_metadata(graph)
    # The graph does not say what type its values have.
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(graph, file, weight_type=QuantType.QInt8, extra_options=options)
    quantized = onnx.load(file)
    # See `trace`: with shapes, norms would take half of the time of a small model.
    del quantized.graph.value_info[:]
    onnx.save(quantized, file)


class _Logits(nn.Module):
    """A model as a function of two tensors."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
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


def trace(model: PreTrainedModel, file: Path) -> None:
    """Write the graph of a model with dynamic batch and length, unchecked."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    # DYNAMIC lets the tracer find the bounds itself; named dimensions fail once and are traced again.
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _silence(), torch.inference_mode():
        program = torch.onnx.export(
            _Logits(_without_empty_products(model)).eval(),
            (ids, torch.ones_like(ids)),
            dynamo=True,
            input_names=list(_INPUTS),
            output_names=["logits"],
            dynamic_shapes=(shape, shape),
            verbose=False,
        )
    assert program is not None  # guaranteed by dynamo=True
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


def _compare(model: PreTrainedModel, file: Path) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for batch, length in ((1, 1), (3, 11)):
        ids = torch.randint(model.config.vocab_size, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[batch // 2 :, length - length // 3 :] = 0
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
        found = session.run(None, {_INPUTS[0]: ids.numpy(), _INPUTS[1]: mask.numpy()})[0]
        difference = float(np.abs(found - expected).max())
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"the ONNX graph differs from the checkpoint by {difference:.2g} in the logits "
                f"({_TOLERANCE:g} is tolerated); nothing was written"
            )


def _copy_companions(source: Path, folder: Path) -> None:
    for name in read_card(source)["files"]:
        if name not in (WEIGHTS, ONNX_MODEL):
            if not (source / name).is_file():
                raise CheckpointError(f"{source / name} is missing, {CARD} lists it")
            shutil.copyfile(source / name, folder / name)


def _write_card(folder: Path, *, source: dict[str, Any], runtime: str) -> None:
    files = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
    write_json(folder / CARD, {**source, "runtime": runtime, "files": files})


@contextmanager
def _silence() -> Iterator[None]:
    """Mute the exporter's warnings about what is not installed and about its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

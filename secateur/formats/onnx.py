"""ONNX export with dynamic batch and length, checked against the checkpoint it came from; int8 by ONNX Runtime.

The export folder holds ``model.onnx``, the config and tokenizer of the checkpoint, and a card of its own. The graph of
a generator is one step with its cache: see ``tracing.trace_step``.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from transformers import PreTrainedModel

from secateur.errors import CheckpointError
from secateur.families import family_of
from secateur.files import replacing
from secateur.formats.closeness import require_close
from secateur.formats.outliers import spare_outliers_
from secateur.formats.tracing import INPUTS, KEPT, PAST, cache_shapes, trace, trace_step
from secateur.models.card import CARD, Card, write_card
from secateur.models.checkpoint import described, kind_of_folder, load
from secateur.models.folders import WEIGHTS, companions
from secateur.models.heads import head_of
from secateur.models.pooling import is_for_sentence_transformers
from secateur.models.token_types import TYPES, tells_texts_apart

__all__ = ["ONNX_MODEL", "export_onnx", "quantize_", "quantize_onnx", "trace"]

ONNX_MODEL = "model.onnx"


def export_onnx(checkpoint: Path, out: Path, *, int8: bool = False) -> Path:
    """Export a checkpoint into a new folder and return the path of its ``model.onnx``.

    The inputs of a classifier are ``input_ids`` and ``attention_mask``, int64 ``(batch, length)``, and of one that
    tells the texts of a pair apart ``token_type_ids``; the output is ``logits``, float32 ``(batch, labels)``, of an
    embedding model unit vectors, ``(batch, hidden size)``. A generator has a cache besides, see ``trace_step``. The
    fp32 graph is run on random rows and compared with the checkpoint. int8 means dynamic quantisation of weights
    (embeddings too), activations are quantised while running.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ModelError: the exported graph does not give the logits of the checkpoint.
    """
    if int8:
        with tempfile.TemporaryDirectory() as scratch:
            export_onnx(checkpoint, Path(scratch) / "fp32")
            return quantize_onnx(Path(scratch) / "fp32", out)
    card = described(checkpoint)
    model = load(checkpoint, verify=False).float()
    # Eager attention exports to fewer nodes than SDPA (220 against 292 for 6 layers) and runs 15 % faster.
    model.set_attn_implementation("eager")
    with replacing(out) as folder:
        folder.mkdir()
        if head_of(model).per_token:
            trace_step(model, folder / ONNX_MODEL)
            _compare_steps(model, folder / ONNX_MODEL)
        else:
            typed = card.num_texts == 2 and tells_texts_apart(model.config)
            trace(model, folder / ONNX_MODEL, typed=typed)
            _compare(model, folder / ONNX_MODEL, typed=typed)
        _copy_companions(checkpoint, folder)
        write_card(folder, card.changed(runtime="onnx"))
    return out / ONNX_MODEL


def quantize_onnx(exported: Path, out: Path) -> Path:
    """Quantise an fp32 export folder to int8 into a new folder; return the path of its ``model.onnx``.

    Of an embedding model features that stand out stay in fp32 (``outliers``).
    """
    graph, card = onnx.load(exported / ONNX_MODEL), Card.read(exported)
    spared = spare_outliers_(graph, exported) if kind_of_folder(exported, card).follows_dense else []
    with replacing(out) as folder:
        folder.mkdir()
        quantize_(graph, folder / ONNX_MODEL, but_for=spared)
        _copy_companions(exported, folder)
        write_card(folder, card.changed(runtime="onnx-int8"))
    return out / ONNX_MODEL


def quantize_(graph: onnx.ModelProto, file: Path, *, but_for: Sequence[str] = ()) -> None:
    """Write a graph with its matrix products and embeddings in int8, but for some nodes; the given one is used up.

    Each output feature of a product has a scale of its own: 2 % slower than one scale for the whole matrix, and half
    of its error in the logits.
    """
    # Without this tag the library warns through the root logger, which installs a handler there. What it asks
    # for, shape inference, is not needed to quantise matrix products and embeddings.
    add_pre_process_metadata(graph)
    # The graph does not say what type its values have.
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(
        graph,
        file,
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(but_for),
        extra_options=options,
    )
    quantized = onnx.load(file)
    # See `trace`: with shapes, norms would take half of the time of a small model.
    del quantized.graph.value_info[:]
    onnx.save(quantized, file)


def _compare(model: PreTrainedModel, file: Path, *, typed: bool) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for batch, length in ((1, 1), (3, 11), *_beyond_windows(model)):
        ids = torch.randint(model.config.vocab_size, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[batch // 2 :, length - length // 3 :] = 0
        inputs = dict(zip(INPUTS, (ids, mask), strict=True))
        if typed:
            inputs[TYPES] = (torch.arange(length) >= length // 2).long().expand(batch, length).contiguous()
        with torch.inference_mode():
            expected = model(**inputs).logits.numpy()
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]
        require_close(found, expected, what="the ONNX graph")


def _beyond_windows(model: PreTrainedModel) -> list[tuple[int, int]]:
    """Return a batch of rows longer than any window that layers look at, if they do: its mask is part of the graph."""
    window = family_of(model).window(model.config)
    return [] if window is None else [(2, min(2 * window + 3, family_of(model).max_tokens(model.config)))]


def _compare_steps(model: PreTrainedModel, file: Path) -> None:
    """Read the beginning of two texts at once, then go on token by token from the cache."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ids = torch.randint(model.config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(0))
    cache = [np.zeros(shape, np.float32) for shape in cache_shapes(model, batch=2, length=0)]
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.numpy()
    for start, end in ((0, 5), (5, 6), (6, 7), (7, 9)):
        feed = {INPUTS[0]: ids[:, start:end].numpy(), INPUTS[1]: np.ones((2, end), np.int64)}
        feed |= {KEPT: np.arange(end - start), **{f"{PAST}{place}": state for place, state in enumerate(cache)}}
        logits, *cache = session.run(None, feed)
        require_close(logits, expected[:, start:end], what="the ONNX graph")


def _copy_companions(source: Path, folder: Path) -> None:
    for name in companions(source):
        if name not in (WEIGHTS, ONNX_MODEL) and not is_for_sentence_transformers(name):
            if not (source / name).is_file():
                raise CheckpointError(f"{source / name} is missing, {CARD} lists it")
            shutil.copyfile(source / name, folder / name)

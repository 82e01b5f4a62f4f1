"""Static int8: scales of the activations measured once on calibration rows, instead of for every call.

No stage uses it. On the demo's third round it was slower than the dynamic form that `onnx` writes and no better:
the scales that dynamic quantisation computes cost less than the nodes that static quantisation adds.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

_QUANTIZED = ("MatMul", "Gemm", "Gather")


def quantize_static_onnx(graph: Path, out: Path, rows: Iterable[npt.NDArray[np.int64]], *, operators: bool) -> None:
    """Quantise an fp32 graph to int8 with one scale per tensor of activations and one per channel of weights.

    Args:
        graph: the ``model.onnx`` of an fp32 export.
        out: the file to write.
        rows: token ids of calibration rows, (length,) each, without padding.
        operators: True writes integer operators (QOperator), False pairs around float ones (QDQ), which the
            runtime fuses.
    """
    with tempfile.TemporaryDirectory() as scratch, _silence():
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            _Rows(rows),
            quant_format=QuantFormat.QOperator if operators else QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Products of two activations (attention) stay in fp32, as in the dynamic form.
            extra_options={"MatMulConstBOnly": True},
        )


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """One row per call: padding would widen the ranges."""

    def __init__(self, rows: Iterable[npt.NDArray[np.int64]]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
        """Return the inputs of the next row, or None after the last."""
        ids = next(self._rows, None)
        return None if ids is None else {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}


@contextmanager
def _silence() -> Iterator[None]:
    """Mute the notes that the library writes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

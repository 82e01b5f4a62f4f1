"""Tiny generators of uneven widths with their ONNX export, which takes ten seconds and is made once for all workers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tests.contract.test_families_generation import absent_blocks, uneven
from tests.shared import once
from tests.tiny_models import tiny_generator

CUTS: dict[str, Callable[[PreTrainedModel], Any]] = {"llama": absent_blocks, "gpt2": uneven, "gemma3_text": uneven}


def exported_generator(model_type: str) -> tuple[PreTrainedModel, Path]:
    """Return a cut model and the graph of the same one."""
    from secateur.formats.onnx import export_onnx
    from secateur.models.checkpoint import save
    from secateur.models.surgery import cut_

    model = tiny_generator(model_type)
    cut_(model, CUTS[model_type](model))

    def export(folder: Path) -> str:
        save(model, None, folder / "model", card={}, check_reload=False)
        return str(export_onnx(folder / "model", folder / "onnx"))

    return model, Path(once(f"onnx-{model_type}", export))

"""One place chooses a device (``secateur/inference/device.py``); what trains, scores and prunes follows the model."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLLOWERS = ("training", "pruning", "second_order", "criteria", "regularizers", "kinds", "evaluation", "budget")
FILES = [file for room in FOLLOWERS for file in sorted((ROOT / "secateur" / room).rglob("*.py"))]
FILES += sorted((ROOT / "tasks").glob("*.py"))
_TAKES_A_DEVICE = {"device", "to"}
_NOWHERE = "meta"
"""Shapes without numbers, which no device holds."""


def hard_coded(source: str) -> Iterator[str]:
    """Yield every call that puts something on a device by its name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = [word.value for word in node.keywords if word.arg == "device"]
        named += node.args if called in _TAKES_A_DEVICE else []
        words = [value.value for value in named if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        by_name = any(word != _NOWHERE for word in words)
        if by_name or called in ("cuda", "Accelerator"):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_tensor_is_made_on_a_device_by_name(file: Path) -> None:
    assert list(hard_coded(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.zeros(2, device='cpu')",
        "model.to('cuda')",
        "model.cuda()",
        "torch.device('cuda:0')",
        "Accelerator(cpu=True)",
    ],
)
def test_one_that_were_would_be_found(line: str) -> None:
    assert list(hard_coded(line))

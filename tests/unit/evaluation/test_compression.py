import pytest
import torch

from secateur.evaluation.compression import stored_size
from secateur.models.checkpoint import save
from secateur.pruning.weights.matrices import prunable
from tests.unit.pruning.tiny import tiny_model


def test_zeros_make_the_file_smaller_and_are_counted(tmp_path):
    model = tiny_model(ffn=256)
    dense = stored_size(model)
    save(model, None, tmp_path / "out", card={}, check_reload=False)
    assert dense.bytes == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert dense.num_nonzero == dense.num_weights
    assert dense.sparsity == 0.0
    with torch.no_grad():
        for linear in prunable(model).values():
            linear.weight[:, : linear.weight.shape[1] // 2] = 0.0
    half = stored_size(model)
    assert half.bytes == dense.bytes
    assert half.num_nonzero * 2 == half.num_weights
    assert half.sparsity == 0.5
    saved = dense.compressed_bytes - half.compressed_bytes
    # Nearly all bits of a random weight are noise that no compressor gets rid of.
    assert saved == pytest.approx(0.9 * 4 * (dense.num_weights - half.num_nonzero), rel=0.1)

"""A digest of weights that does not depend on the file that holds them."""

import hashlib
from collections.abc import Mapping

import torch


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 over sorted (name, dtype, shape, raw bytes): equal weights, equal digest.

    Unlike the digest of a file, it does not depend on the container's header.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

"""Everything that decides which bits a stage produces: seeds, threads, flags, and the fingerprint.

Measured: the same bits on a re-run and under another ``OMP_NUM_THREADS`` once ``torch.set_num_threads`` is
fixed; other bits with another thread count or another CPU code path (AVX2 against AVX-512).
"""

import hashlib
import platform
import random
from pathlib import Path

import numpy as np
import torch


def fix_randomness(*, seed: int, num_threads: int) -> None:
    """Seed python, numpy and torch, fix the thread count and refuse nondeterministic kernels.

    Changes process-wide state: call it once, at the entry of a stage.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory changes no bit where none of it is read, and takes up to a tenth of a step of a small model.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def supports_bf16() -> bool:
    """Tell whether bf16 matrix products run in hardware here (2.4 times faster training; else slower)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def fingerprint(*, constraints: Path | None = None) -> dict[str, str | int]:
    """Describe what can change the bits of a result besides code, data and parameters."""
    described: dict[str, str | int] = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "num_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
    }
    if constraints is not None and constraints.exists():
        described["constraints"] = hashlib.sha256(constraints.read_bytes()).hexdigest()[:16]
    return described

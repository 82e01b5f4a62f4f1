"""Everything that decides which bits a stage produces: seeds, threads, flags, and the fingerprint.

Measured: the same bits on a re-run and under another ``OMP_NUM_THREADS`` once ``torch.set_num_threads`` is
fixed; other bits with another thread count or another CPU code path (AVX2 against AVX-512).
"""

import hashlib
import os
import platform
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Literal

import numpy as np
import torch

_CPU = torch.device("cpu")


def fix_randomness(*, seed: int, num_threads: int, device: torch.device = _CPU) -> None:
    """Seed python, numpy and torch, fix the thread count and refuse nondeterministic kernels, also of ``device``.

    Changes process-wide state: call it once, at the entry of a stage.
    """
    if device.type == "cuda":
        # cuBLAS shares its workspace among streams otherwise; it is read when torch opens the library.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory changes no bit where none of it is read, and takes up to a tenth of a step of a small model.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def fixed_randomness(*, seed: int, device: torch.device) -> Iterator[None]:
    """Do what ``fix_randomness`` does for a while, with the threads that there are; all is put back afterwards.

    On an accelerator nondeterministic kernels are not refused: some of those that somebody's loss needs are.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    refused, filled = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    on_cpu = device.type == "cpu"
    with torch.random.fork_rng(devices=[] if on_cpu else [device], device_type="cuda" if on_cpu else device.type):
        try:
            fix_randomness(seed=seed, num_threads=torch.get_num_threads())
            torch.use_deterministic_algorithms(on_cpu or refused)
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
            torch.use_deterministic_algorithms(refused)
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def fastest_precision(device: torch.device = _CPU) -> Literal["bf16", "fp32"]:
    """Return in which arithmetic training is faster on a device of this machine.

    It is bf16 with AMX, and with the AVX-512 of AMD, whose units multiply twice as many bf16 as fp32 in a cycle (2.4
    times faster training). Those of Intel multiply no more: on a Xeon whose AMX the hypervisor hides, a step of MiniLM
    on one thread took 0.79 s in bf16 and 0.54 s in fp32. What the CPU is decides, no timing: bits must not depend on
    the load.
    """
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type != "cpu":
        faster = False  # nobody has measured it
    else:
        of_amd = cpu_fact("vendor_id") == "AuthenticAMD"
        faster = torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and of_amd)
    return "bf16" if faster else "fp32"


def cpu_fact(name: str) -> str:
    """Return a line of the system's description of its first CPU (``model name``); empty where it tells none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def fingerprint(*, constraints: Path | None = None, device: torch.device = _CPU) -> dict[str, str | int]:
    """Describe what can change the bits of a result besides code, data and parameters.

    The packages are those of ``constraints``, or where there is no such file those that are installed. An accelerator
    is named with its model and libraries; a CPU needs no more than what is said of it anyway.
    """
    described: dict[str, str | int] = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "auto_precision": fastest_precision(device),
        "num_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
    }
    if device.type != "cpu":
        described["device"] = _described(device)
    if constraints is not None and constraints.exists():
        described["constraints"] = hashlib.sha256(constraints.read_bytes()).hexdigest()[:16]
    else:
        described["packages"] = hashlib.sha256("\n".join(_installed()).encode()).hexdigest()[:16]
    return described


def _described(device: torch.device) -> str:
    """Return ``cuda: NVIDIA H200, CUDA 12.8, cuDNN 91002``; of others their name."""
    if device.type != "cuda":
        return device.type
    name = torch.cuda.get_device_name(device)
    return f"cuda: {name}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]


def _installed() -> list[str]:
    """List the packages that this one asks for, each with its version: what is known where nothing is pinned."""
    found = []
    with suppress(PackageNotFoundError):
        for requirement in metadata.requires("secateur") or ():
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            with suppress(PackageNotFoundError):  # an extra that is not installed
                found.append(f"{name}=={metadata.version(name)}")
    return sorted(found)

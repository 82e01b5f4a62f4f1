import pytest
import torch

from secateur import determinism
from secateur.determinism import fastest_precision, fingerprint
from secateur.inference.precision import resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "vendor", "faster"),
    [
        (True, True, "GenuineIntel", True),
        (False, True, "GenuineIntel", False),  # a Xeon whose AMX the hypervisor hides
        (False, True, "AuthenticAMD", True),
        (False, False, "AuthenticAMD", False),
        (False, True, "", False),
    ],
)
def test_auto_is_bf16_only_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx512_bf16: bool, vendor: str, faster: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # another device of the machine does not count
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(determinism, "cpu_fact", lambda _: vendor)
    assert fastest_precision() == resolve("auto", device=CPU) == ("bf16" if faster else "fp32")
    assert resolve("bf16", device=CPU) == "bf16"
    # Two CPUs that differ in this alone train other bits, so the fingerprint must tell them apart.
    assert fingerprint()["auto_precision"] == resolve("auto", device=CPU)

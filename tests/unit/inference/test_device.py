import pytest
import torch

from secateur import determinism
from secateur.determinism import fastest_precision, fingerprint
from secateur.errors import ConfigError
from secateur.inference import device
from secateur.inference.device import find_device, for_sums, wide

CUDA = torch.device("cuda")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The accelerators that the machine claims to have."""
    found: set[str] = set()
    monkeypatch.setattr(device, "_has", found.__contains__)
    return found


def test_auto_takes_what_there_is(there: set[str]) -> None:
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    there |= {"mps"}
    assert find_device("auto") == torch.device("mps")
    there |= {"cuda"}
    assert find_device("auto") == find_device("cuda") == CUDA
    assert find_device("cpu") == torch.device("cpu"), "what is asked for counts"


def test_a_device_that_is_absent_is_refused_with_what_would_work(there: set[str]) -> None:
    with pytest.raises(ConfigError, match=r"^run\.device=mps: found no such device here.*; cpu or auto would work$"):
        find_device("mps")
    there |= {"cuda"}
    with pytest.raises(ConfigError, match=r"^--device=mps: .*; cuda, cpu or auto would work$"):
        find_device("mps", said="--device")


def test_sums_are_kept_where_there_is_float64() -> None:
    assert for_sums(CUDA) == CUDA
    assert for_sums(torch.device("mps")) == for_sums(torch.device("cpu")) == torch.device("cpu")
    assert wide(torch.ones(2)).dtype == torch.float64


def test_the_fingerprint_names_an_accelerator_and_says_nothing_new_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert "device" not in fingerprint(), "cards of a CPU keep their bytes"
    told = fingerprint(device=CUDA)
    assert str(told["device"]).startswith("cuda: Some GPU, CUDA ")
    assert told["auto_precision"] == fastest_precision(CUDA) == "bf16"


def test_cublas_is_told_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_num_threads()
    determinism.fix_randomness(seed=0, num_threads=before)
    assert "CUBLAS_WORKSPACE_CONFIG" not in determinism.os.environ
    determinism.fix_randomness(seed=0, num_threads=before, device=CUDA)
    assert determinism.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()

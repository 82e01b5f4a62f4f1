"""``SECATEUR_ENGINE``: what it may say, and what is said of anything else."""

import pytest

from secateur.engines import setting
from secateur.engines.setting import read_setting, require_installed
from secateur.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "kind", "address", "num_workers"),
    [
        ("", "local", None, None),
        ("local", "local", None, None),
        ("dask", "dask", None, None),
        ("dask:3", "dask", None, 3),
        ("dask:tcp://10.0.0.7:8786", "dask", "tcp://10.0.0.7:8786", None),
        ("ray", "ray", None, None),
        ("ray:2", "ray", None, 2),
        ("ray:auto", "ray", "auto", None),
        ("ray:10.0.0.7:6379", "ray", "10.0.0.7:6379", None),
        ("ray:ray://head:10001", "ray", "ray://head:10001", None),
    ],
)
def test_what_it_may_say(text: str, kind: str, address: str | None, num_workers: int | None) -> None:
    found = read_setting(text)
    assert (found.kind, found.address, found.num_workers) == (kind, address, num_workers)


@pytest.mark.parametrize("text", ["daks", "dask:", "dask:0", "dask:auto", "local:2", "spark://x", "dask:head", "ray:x"])
def test_anything_else_is_refused_with_what_would_work(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^SECATEUR_ENGINE={text} is no engine; local, dask or ray \(.*would work$"):
        read_setting(text)


@pytest.mark.parametrize(("kind", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_names_the_extra(kind: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting, "find_spec", lambda name: None)
    require_installed(read_setting("local"))
    with pytest.raises(ConfigError) as caught:
        require_installed(read_setting(kind))
    assert str(caught.value) == (
        f"SECATEUR_ENGINE={kind} takes the package {package} (the extra {kind} of secateur), which is not installed; "
        f"pip install {package}, or SECATEUR_ENGINE=local"
    )

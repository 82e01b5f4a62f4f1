"""One registry of tiny generators for all tests of their operation."""

import shutil
from pathlib import Path

import pytest

from tests.shared import once
from tests.tasks.generators.stand import NAME, GeneratorStand, reload_here


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> GeneratorStand:
    """Versions 1 (good, deployed in ONNX), 2 (a little worse) and 3 (much worse)."""
    root = tmp_path_factory.mktemp("generators") / "project"
    shutil.copytree(once("generators", _make), root, symlinks=True)
    return GeneratorStand(root)


def _make(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patched:
        reload_here(patched)
        stand = GeneratorStand(folder / "project")
    stand.register("baseline", runtime="onnx")
    stand.register("r1", stand.noisy(0.003))
    stand.register("r2", stand.noisy(0.3))
    return str(stand.root)


@pytest.fixture
def stand(made: GeneratorStand) -> GeneratorStand:
    """The registry with nobody promoted yet, and version 1 as challenger."""
    made.configure()
    records = made.records
    for name in records.tags():
        records.tag(name, None)
    for alias in ("champion", "previous"):
        records.point(alias, None)
    made.registry.set_alias(NAME, "challenger", "1")
    return made

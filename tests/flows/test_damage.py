"""Bytes are compared with their digests wherever they enter a computation, whatever DVC remembers of them."""

import json
import logging
import os
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur.errors import CheckFailed
from secateur.workflow.driver import bring_up_to_date, run_stage
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage
from tests.tiny import dvc

MADE = {
    "clean": "data/clean/train.parquet",
    "prune@r1": "models/r1/model.safetensors",
}


def _flip(file: Path) -> None:
    """Change one bit in place, and nothing else that a file system shows."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(before.st_mode)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _object(root: Path, path: str, *, store: str = ".dvc/cache") -> Path:
    """Return where DVC keeps an output, or a file of an output that is a folder."""
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"].values()
    digests = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
    if path in digests:
        return _at(root / store, digests[path])
    folder, _, name = path.rpartition("/")
    entries = json.loads(_at(root / store, digests[folder]).read_text())
    return next(_at(root / store, entry["md5"]) for entry in entries if entry["relpath"] == name)


def _at(store: Path, digest: str) -> Path:
    return store / "files" / "md5" / digest[:2] / digest[2:]


def _bring(root: Path, address: str, **changes: Any) -> str:
    """Bring a stage up to date in this process, as the flow does, and return what was done."""
    project = Project(root)
    if changes:
        values = json.loads((root / "params.yaml").read_text())
        values["prune"]["rounds"]["r2"] |= changes
        (root / "params.yaml").write_text(json.dumps(values, indent=2))
    config = read_config(project)
    with chdir(root):
        return bring_up_to_date(project, DvcStore(project), config, find_stage(config, root, address)).action


@pytest.mark.parametrize("address", MADE)
def test_a_damaged_object_is_computed_again(project: Path, caplog: pytest.LogCaptureFixture, address: str) -> None:
    path = MADE[address]
    lock, right = (project / "dvc.lock").read_bytes(), (project / path).read_bytes()
    kept = _object(project, path)
    _flip(kept)
    (project / path).unlink()
    with caplog.at_level(logging.WARNING, logger="secateur"):
        assert _bring(project, address) == "run"
    output = path if address == "clean" else "models/r1"
    assert caplog.messages == [f"DVC's cache held damaged bytes of {output}; they are removed from it and not used"]
    assert (project / path).read_bytes() == right
    assert kept.read_bytes() == right
    assert (project / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize("path", ["models/baseline/card.json", "data/tokens"])
def test_what_changed_without_a_trace_is_brought_back_before_it_is_used(
    project: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    _bring(project, "prune@r2")  # DVC has seen every file of this copy
    file = next(iter(sorted((project / path).iterdir()))) if (project / path).is_dir() else project / path
    right = file.read_bytes()
    _flip(file)
    assert not DvcStore(Project(project)).status("prune@r2").changed, "DVC sees nothing"
    with caplog.at_level(logging.WARNING, logger="secateur"):
        assert _bring(project, "prune@r2", epochs=0.5) == "run"
    name = file.relative_to(project).as_posix()
    assert caplog.messages == [f"{name}: other bytes than DVC remembered, with the same size and time"]
    assert file.read_bytes() == right


def test_what_was_pulled_from_a_damaged_remote_is_not_used(project: Path) -> None:
    path = "models/r1/model.safetensors"
    right = (project / path).read_bytes()
    dvc(project, "push")
    _flip(_object(project, path, store=".secateur/remote"))
    shutil.rmtree(project / ".dvc" / "cache" / "files")
    shutil.rmtree(project / "models" / "r1")
    dvc(project, "pull", "prune@r1")
    assert (project / path).read_bytes() != right, "DVC itself trusts its remote"
    _bring(project, "prune@r2", epochs=0.5)
    assert (project / path).read_bytes() == right


@pytest.mark.parametrize("commit", [True, False], ids=["by hand", "under dvc repro"])
def test_a_stage_refuses_what_changed_without_a_trace(project: Path, commit: bool) -> None:
    _bring(project, "evaluate")
    _flip(project / "data/clean/test.parquet")
    before = (project / "reports/metrics.json").read_bytes()
    config = read_config(Project(project))
    with pytest.raises(
        CheckFailed, match=r"data/clean/test.parquet holds other bytes than DVC remembered.*secateur run"
    ):
        run_stage(Project(project), config, find_stage(config, project, "evaluate"), commit=commit)
    assert (project / "reports/metrics.json").read_bytes() == before
    assert DvcStore(Project(project)).status("clean").outputs == {"data/clean/test.parquet": "modified"}


def test_what_the_cache_has_lost_is_stored_again_without_computing(project: Path) -> None:
    kept = _object(project, "models/r1/model.safetensors")
    right = kept.read_bytes()
    kept.unlink()
    assert DvcStore(Project(project)).status("prune@r1").outputs == {"models/r1": "not in cache"}
    assert _bring(project, "prune@r1") == "cached"
    assert kept.read_bytes() == right
    assert not DvcStore(Project(project)).status("prune@r1").changed

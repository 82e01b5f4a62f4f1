"""Files are found, copied once from a store elsewhere, and every byte of them is checked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException

from secateur.errors import CheckFailed, ModelError
from secateur.registry import mlflow_artifacts
from secateur.registry.mlflow_artifacts import download
from secateur.registry.model_source import _registered, check_files, require_intact, resolve
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.tags import ARTIFACTS, WRAPPER, VersionTags
from tests.integration.registry_stand import Stand

FILES = {"card.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
AROUND = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}


@contextmanager
def _changed(file: Path, old: bytes, new: bytes) -> Iterator[None]:
    intact = file.read_bytes()
    assert old in intact
    file.write_bytes(intact.replace(old, new, 1))
    try:
        yield
    finally:
        file.write_bytes(intact)


def test_a_version_is_found_and_every_file_of_it_checked(stand: Stand) -> None:
    found = resolve(stand.project, "models:/tiny@champion")
    assert (found.name, found.version, found.runtime, found.deployed) == ("tiny", "1", "torch", None)
    assert found.folder == found.checkpoint
    assert found.checkpoint.is_relative_to(stand.root / ".secateur" / "opened"), "a private copy"
    checks = check_files(found)
    assert {check.file.name for check in checks} == FILES | AROUND
    assert all(check.problem is None for check in checks)


def test_a_file_that_is_missing_or_was_added_is_named(stand: Stand, tmp_path: Path) -> None:
    found = resolve(stand.project, "models:/tiny/2", verify=False)
    file = found.checkpoint / "tokenizer.json"
    file.rename(tmp_path / "kept")
    try:
        with pytest.raises(CheckFailed, match=r"tiny version 2: .*tokenizer\.json is missing; nothing was loaded"):
            resolve(stand.project, "models:/tiny/2")
    finally:
        (tmp_path / "kept").rename(file)
    added = found.checkpoint / "added_tokens.json"
    added.write_text('{"good": 7}')
    try:
        with pytest.raises(CheckFailed, match=r"added_tokens\.json belongs to no registered file"):
            resolve(stand.project, "models:/tiny/2")
    finally:
        added.unlink()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("card.json", b'"prune@r1"', b'"prune@r2"'),
        ("config.json", b'"num_hidden_layers": 2', b'"num_hidden_layers": 1'),
    ],
)
def test_versions_from_before_the_tag_of_all_files_are_checked_by_the_others(
    stand: Stand, file: str, old: bytes, new: bytes
) -> None:
    found = resolve(stand.project, "models:/tiny/2", verify=False)
    before = replace(found, tags=_without(found.tags, ARTIFACTS))
    require_intact(before)
    with _changed(found.checkpoint / file, old, new), pytest.raises(CheckFailed, match=f"{file} differs from its dig"):
        require_intact(before)


def _without(tags: VersionTags, tag: str) -> VersionTags:
    return VersionTags({name: value for name, value in tags.items() if name != tag})


def _before_wrapper_tag(stand: Stand, version: str) -> RegisteredVersion:
    """A version whose files around the folders have no digests."""
    entry = stand.registry.version(f"models:/tiny/{version}")
    return replace(entry, tags=_without(entry.tags, WRAPPER))


def test_a_description_that_points_outside_its_folder(stand: Stand) -> None:
    file, entry = stand.stored("2", "MLmodel"), _before_wrapper_tag(stand, "2")
    for path in (b"../../../../models/baseline", b"/etc"):
        with _changed(file, b"path: artifacts/r1", b"path: " + path):
            with pytest.raises(CheckFailed, match="MLmodel differs from its digest"):
                resolve(stand.project, "models:/tiny/2")
            with pytest.raises(CheckFailed, match="outside its folder"):
                _registered(file.parent, entry)


def test_a_store_elsewhere_is_copied_once_and_a_damaged_copy_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[str] = []

    def counted(name: str, version: str, target: Path) -> None:
        downloads.append(version)
        download(name, version, target)

    monkeypatch.setattr(mlflow_artifacts, "local_folder", lambda *_: None)
    monkeypatch.setattr(mlflow_artifacts, "download", counted)
    copy = resolve(stand.project, "models:/tiny/2").checkpoint
    assert copy.is_relative_to(stand.root / ".secateur" / "models" / "tiny" / "2")
    assert resolve(stand.project, "models:/tiny/2").checkpoint == copy
    assert downloads == ["2"]
    (copy / "config.json").write_text("{}")
    assert json.loads((resolve(stand.project, "models:/tiny/2").checkpoint / "config.json").read_text())
    assert downloads == ["2", "2"]
    stored = stand.registry.checkpoint("models:/tiny/3") / "config.json"
    with (
        _changed(stored, b'"num_hidden_layers": 2', b'"num_hidden_layers": 1'),
        pytest.raises(CheckFailed, match=r"tiny version 3: .*config\.json differs from its digest"),
    ):
        resolve(stand.project, "models:/tiny/3")
    resolve(stand.project, "models:/tiny/3")


def test_a_model_that_somebody_else_registered(stand: Stand) -> None:
    file, entry = stand.stored("2", "MLmodel"), _before_wrapper_tag(stand, "2")
    with (
        _changed(file, b"checkpoint:", b"something:"),
        pytest.raises(ModelError, match="was not registered by secateur"),
    ):
        _registered(file.parent, entry)


def test_a_store_that_fails_on_one_file_is_not_asked_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be waited for as long as the first, one after another."""
    asked: list[str] = []

    class Failing:
        def list_artifacts(self, path: str | None) -> list[FileInfo]:
            names = ("MLmodel", "artifacts") if path is None else (f"{path}/{at}" for at in range(5))
            return [FileInfo(name, name == "artifacts", 1) for name in names]

        def download_artifacts(self, path: str, dst_path: str) -> None:
            asked.append(path)
            if path == "artifacts/1":
                raise MlflowException("read timed out")

    monkeypatch.setattr(MlflowClient, "get_model_version_download_uri", lambda *_: "s3://bucket/model")
    monkeypatch.setattr(mlflow_artifacts, "get_artifact_repository", lambda _: Failing())
    with pytest.raises(ModelError, match="the files of models:/tiny/1 cannot be downloaded: read timed out"):
        download("tiny", "1", tmp_path / "new")
    assert asked == ["MLmodel", "artifacts/0", "artifacts/1"]

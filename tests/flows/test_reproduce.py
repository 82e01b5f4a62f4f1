"""From the registry back to the same bits: a fresh clone, two commits later, with nothing but a DVC remote."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from flows.reproduce import reproduce
from secateur.errors import CheckFailed, SecateurError
from secateur.models.checkpoint import load, load_tokenizer, read_card, save
from secateur.registry.mlflow_store import ModelRegistry, tracking_uri
from secateur.registry.tags import MANIFEST
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tiny import git


@pytest.fixture
def clone(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone two commits after the version was made; its only way to the data is a folder that was pushed to."""
    store = DvcStore(Project(project))
    store.push(list(store.output_digests("ingest").values()))
    for text in ("# one\n", "# two\n"):
        with (project / "notes.md").open("a") as file:
            file.write(text)
        git(project, "add", "-A")
        git(project, "commit", "-qm", text)
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(root))
    (root / ".dvc/config.local").write_text(f"['remote \"store\"']\n    url = {project}/.secateur/remote\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(Project(project)))
    return root


def _remote_file(project: Path, ending: str) -> Path:
    """Return the object of a file of ``data/raw`` in the remote."""
    objects = project / ".secateur/remote/files/md5"
    md5 = DvcStore(Project(project)).output_digests("ingest")["data/raw"]
    [listed] = [e for e in json.loads((objects / md5[:2] / md5[2:]).read_text()) if e["relpath"].endswith(ending)]
    found = objects / listed["md5"][:2] / listed["md5"][2:]
    found.chmod(0o644)
    return found


def _untouched(root: Path) -> None:
    assert git(root, "status", "--porcelain") == ""
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_rebuilds_the_same_bits_from_a_fresh_clone(clone: Path) -> None:
    done = json.loads(output(clone, "models", "reproduce", "models:/tiny/1", "--json"))
    assert (done["verdict"], done["comparison"]) == ("bit-identical", None)
    assert list(done["stages"]) == ["clean", "baseline"]
    assert done["files"]["model.safetensors"] is True
    assert (
        done["commit"] == git(clone, "rev-list", "--max-parents=0", "HEAD").strip() != git(clone, "rev-parse", "HEAD")
    )
    _untouched(clone)


def test_another_thread_count_is_named_and_the_scores_decide(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bits, as another order of sums gives them, are put in place of the rebuilt model."""

    def put(tree: Path, address: str, *_: Any) -> float:
        if address == "clean":
            shutil.copytree(project / "data/clean", tree / "data/clean")
            return 0.0
        assert read_config(Project(tree)).run.num_threads == 2
        model, card = load(project / "models/baseline"), read_card(project / "models/baseline")
        with torch.no_grad():
            model.classifier.bias[0] += 1e-6
        card["fingerprint"]["num_threads"] = 2
        save(
            model, load_tokenizer(project / "models/baseline"), tree / "models/baseline", card=card, check_reload=False
        )
        return 0.0

    monkeypatch.setattr("flows.reproduce.run_stage", put)
    monkeypatch.setattr("secateur.reproduction.rebuild.different_packages", lambda _: [])
    done = reproduce(Project(project), "models:/tiny/1", num_threads=2)
    assert done.environment == ("num_threads: 1 -> 2",)
    assert (done.verdict, done.files["model.safetensors"]) == ("metric-equivalent", False)
    assert done.comparison is not None
    assert done.comparison.agreement == 1.0
    assert "another environment (num_threads: 1 -> 2); scores are within 0.01" in done.reason
    _untouched(project)


def test_a_tampered_remote_is_refused_and_not_believed_later(project: Path, clone: Path) -> None:
    file = _remote_file(project, "rows.csv")
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + b"!")
    with pytest.raises(CheckFailed, match=r"data/raw of models:/tiny/1: rows\.csv: DVC's store holds another file"):
        reproduce(Project(clone), "models:/tiny/1")
    file.write_bytes(kept)
    DvcStore(Project(clone)).fetch(
        DvcStore(Project(project)).output_digests("ingest")["data/raw"], clone.parent / "raw", what="data/raw"
    )
    assert (clone.parent / "raw/rows.csv").read_bytes() == kept
    _untouched(clone)


@pytest.mark.parametrize("damage", ["file", "remote", "no remote"])
def test_data_that_cannot_be_had_is_one_line(
    project: Path, clone: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if damage == "file":
        _remote_file(project, "rows.csv").unlink()
        said = "data/raw of models:/tiny/1: rows.csv (md5 "
    elif damage == "remote":
        shutil.rmtree(project / ".secateur/remote")
        said = "is neither in DVC's cache nor in its remote; `dvc push` where it was made"
    else:
        (clone / ".dvc/config").write_text("")
        (clone / ".dvc/config.local").write_text("")
        said = "is not in DVC's cache, and no remote is set; add one"
    with pytest.raises(SecateurError) as caught:
        reproduce(Project(clone), "models:/tiny/1")
    assert caught.value.exit_code == 2
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "ERROR" not in capfd.readouterr().err
    assert len(git(clone, "worktree", "list").splitlines()) == 1


def _tag(root: Path, name: str, value: str) -> None:
    """Change a tag of a version as those are that were registered before manifests: nothing tells that it changed."""
    client = MlflowClient(ModelRegistry(Project(root)).uri)
    client.set_model_version_tag("tiny", "1", f"secateur.{name}", value)
    if MANIFEST in client.get_model_version("tiny", "1").tags:
        client.delete_model_version_tag("tiny", "1", MANIFEST)


@pytest.mark.parametrize(
    ("tags", "message", "code"),
    [
        (
            {"reproducible": "false", "dirty_files": "params.yaml"},
            "models:/tiny/1 cannot be rebuilt: when it was made, params.yaml had not been committed",
            2,
        ),
        ({"commit": "0" * 40}, "was made from commit 000000000000, which this repository does not have", 2),
        ({"dvc_sha256": "0" * 64}, "the dvc.lock that its run kept differs from the digest in its tags; refused", 1),
    ],
)
def test_a_version_that_cannot_be_rebuilt_says_why(
    project: Path, tags: dict[str, str], message: str, code: int
) -> None:
    for name, value in tags.items():
        _tag(project, name, value)
    with pytest.raises(SecateurError) as caught:
        reproduce(Project(project), "models:/tiny/1")
    assert message in str(caught.value)
    assert caught.value.exit_code == code


def test_an_unknown_alias_lists_what_there_is(project: Path) -> None:
    ModelRegistry(Project(project))  # of a copy, the first look brings the registry's addresses home
    error = refused(project, "models", "reproduce", "models:/tiny@champion")
    assert "model tiny has no such version or alias; found 3@challenger, 2, 1" in str(error)


def test_other_bits_in_the_same_environment_are_a_failure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rebuilt stage is replaced by the checkpoint of another round: the comparison must not let it through."""

    def put_another(tree: Path, address: str, *_: Any) -> float:
        if address == "clean":
            shutil.copytree(project / "data/clean", tree / "data/clean")
        else:
            shutil.copytree(project / "models/r1", tree / "models/baseline")
        return 0.0

    monkeypatch.setattr("flows.reproduce.run_stage", put_another)
    monkeypatch.setattr("secateur.reproduction.rebuild.different_packages", lambda _: [])
    done = reproduce(Project(project), "models:/tiny/1")
    assert done.verdict == "different"
    assert "in the same environment: the rebuild should have given the same bits" in done.reason
    assert not done.files["model.safetensors"]


def test_what_a_killed_rebuild_left_behind_is_removed(project: Path, tmp_path: Path) -> None:
    left = tmp_path / "secateur-reproduce-killed" / "tree"
    git(project, "worktree", "add", "-q", "--detach", str(left))
    _tag(project, "commit", git(project, "rev-parse", "HEAD").strip())
    subprocess.run(["rm", "-rf", str(project / ".dvc/cache"), str(project / ".secateur/remote")], check=True)
    with pytest.raises(SecateurError):
        reproduce(Project(project), "models:/tiny/1")
    assert not left.exists()
    _untouched(project)

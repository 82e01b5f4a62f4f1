"""While nothing was touched DVC is not asked again; whatever is touched, it is, and its answer counts."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secateur import extensions
from secateur.cli.workflow import prepare
from secateur.errors import ConfigError
from secateur.workflow import code_lock, last_look
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.outcome import Outcome, nothing_to_do
from secateur.workflow.params import propose, read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import stages
from tests.foreign_package import install
from tests.tiny import REPOSITORY, environment

_COARSE_NS = last_look._COARSE_NS


@pytest.fixture
def known(project: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A finished project at which DVC has looked."""
    monkeypatch.setattr(last_look, "_COARSE_NS", 0)
    time.sleep(0.05)  # its files are younger than that
    found = Project(project)
    assert _ask(found) is not None
    assert last_look.recall(found) is not None
    return found


def _ask(project: Project) -> list[Outcome] | None:
    return nothing_to_do(project, stages(read_config(project), project.root))


def test_no_token_is_written_down(known: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "isat_of-somebody")
    assert last_look.recall(known) is None, "who looks has another setting"
    assert _ask(known) is not None
    assert last_look.recall(known) is not None
    assert "isat_of-somebody" not in (known.state / "last_look.json").read_text()


def _flip(path: Path) -> None:
    """Change one byte, and leave size and time of modification as they were."""
    times = path.stat()
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _object(root: Path, *, of_folder: bool) -> Path:
    """Return a file of the cache that dvc.lock names, and DVC too: the metrics lie in git, and are no loss."""
    metrics = hashlib.md5((root / "reports/metrics.json").read_bytes()).hexdigest()
    lock = (root / "dvc.lock").read_text().replace(metrics, "")
    found = [path for path in (root / ".dvc/cache/files/md5").rglob("*") if f"{path.parent.name}{path.name}\n" in lock]
    return next(path for path in sorted(found) if (path.suffix == ".dir") == of_folder)


def _append(name: str, text: str = "\n") -> Callable[[Path], object]:
    return lambda root: (root / name).write_text((root / name).read_text() + text)


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(text)


STALE: dict[str, Callable[[Path], object]] = {
    "a row more": _append("rows.csv", "one more text,positive\n"),
    "another base": _append("tiny-bert/config.json"),
    "a file more in what a stage reads": _write("tiny-bert/more.json", "{}"),
    "a parameter": lambda root: _replace(root / "params.yaml", '"bootstrap_samples": 100', '"bootstrap_samples": 101'),
    "another command": lambda root: _replace(root / "dvc.yaml", "secateur stage clean", "secateur stage  clean"),
    "code of another digest": lambda root: _replace(root / "code.lock", "clean: ", "clean: 0"),
    "no dvc.lock": lambda root: (root / "dvc.lock").unlink(),
    "another digest in dvc.lock": lambda root: _replace(root / "dvc.lock", "md5: ", "md5: 0"),
    "a lost output": lambda root: (root / "models/r1/model.safetensors").unlink(),
    "a lost folder": lambda root: shutil.rmtree(root / "data/tokens"),
    "a changed output": _append("reports/details.json"),
    "a file more in an output": _write("models/r2/more.txt", "more"),
    "a folder more in an output": lambda root: shutil.copytree(root / "reports/training", root / "models/r2/more"),
    "a lost object of the cache": lambda root: _object(root, of_folder=False).unlink(),
    "a lost folder of the cache": lambda root: _object(root, of_folder=True).unlink(),
    "another cache": lambda root: (root / ".dvc/config.local").write_text("[cache]\n    dir = elsewhere\n"),
    "what DVC leaves out": _append(".dvcignore", "*.safetensors\n"),
    "what DVC leaves out below": _write("models/.dvcignore", "*.safetensors\n"),
    "a lost effect": lambda root: (root / "reports/latency.json").unlink(),
    "another lost effect": lambda root: shutil.rmtree(root / ".secateur/exports"),
}

HARMLESS: dict[str, Callable[[Path], object]] = {
    "a touched source": lambda root: (root / "rows.csv").touch(),
    "bytes that DVC takes for the same": lambda root: _flip(root / "data/clean/test.parquet"),
    "a touched output": lambda root: (root / "models/r1/card.json").touch(),
    "a copied output": lambda root: _renew(root / "models/r1/model.safetensors"),
    "a comment in params.yaml": _append("params.yaml", "\n"),
    "settings of DVC": _append(".dvc/config", "\n"),
    "the kept dvc.lock": lambda root: (root / ".secateur/dvc.lock").unlink(),
}


def _replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def _renew(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


@pytest.mark.parametrize("change", STALE)
def test_what_makes_a_stage_stale_is_seen(known: Project, change: str) -> None:
    STALE[change](known.root)
    effect = "effect" in change  # looked for every time
    assert (last_look.recall(known) is not None) == effect
    assert _ask(known) is None
    assert (last_look.recall(known) is not None) == effect, "only what is up to date is remembered"


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_touched_is_looked_at_again_and_remembered_anew(known: Project, change: str) -> None:
    before = last_look.recall(known)
    HARMLESS[change](known.root)
    assert last_look.recall(known) is None
    for _ in range(2):  # what the first look itself wrote is too young for it
        time.sleep(0.05)
        assert _ask(known) is not None
    assert last_look.recall(known) == before


def test_the_answer_is_that_of_dvc_and_dvc_is_not_asked(known: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = _ask(known)
    last_look.forget(known)
    asked = _ask(known)
    assert remembered == asked
    monkeypatch.setattr(DvcStore, "unchanged", lambda store: pytest.fail("DVC was asked"))
    assert _ask(known) == asked


def test_nothing_slow_is_imported(known: Project) -> None:
    said = (
        "import sys; from secateur.cli import cli; cli.main(['run', '--json'], standalone_mode=False)\n"
        "slow = {'dvc', 'numpy', 'pyarrow', 'prefect', 'mlflow', 'torch', 'transformers'}\n"
        "print(sorted(slow & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", said],
        cwd=known.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert {entry["action"] for entry in json.loads(done.stdout)["stages"]} == {"cached"}


def test_what_was_touched_just_now_is_not_remembered(known: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_look, "_COARSE_NS", _COARSE_NS)
    (known.root / "rows.csv").touch()
    assert _ask(known) is not None
    assert last_look.recall(known) is None, "it may be touched again within the same tick"


def test_a_file_that_changes_during_the_look_is_not_remembered(known: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    look = DvcStore.unchanged

    def look_and_edit(store: DvcStore) -> object:
        found = look(store)
        _append("rows.csv", "one more text,positive\n")(known.root)
        return found

    last_look.forget(known)
    monkeypatch.setattr(DvcStore, "unchanged", look_and_edit)
    assert _ask(known) is not None
    assert last_look.recall(known) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", None])
def test_a_damaged_memory_counts_for_nothing(known: Project, damage: bytes | None) -> None:
    file = known.state / "last_look.json"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert last_look.recall(known) is None
    file.write_bytes(content.replace(b'"keys": {"', b'"keys": {"x', 1))
    assert last_look.recall(known) is None
    assert _ask(known) is not None


def test_where_nothing_can_be_kept_dvc_is_asked(known: Project) -> None:
    last_look.forget(known)
    (known.state / "last_look.json").mkdir()
    assert _ask(known) is not None
    assert last_look.recall(known) is None


def test_a_moved_and_a_copied_project_is_looked_at(known: Project, tmp_path: Path) -> None:
    copied, moved = Project(tmp_path / "copied"), Project(tmp_path / "moved")
    shutil.copytree(known.root, copied.root, symlinks=True)
    known.root.rename(moved.root)
    for project in (copied, moved):
        assert last_look.recall(project) is None
        assert _ask(project) is not None


def test_other_settings_of_dvc_count(known: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("[cache]\n    dir = elsewhere\n")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    assert last_look.recall(known) is None
    assert _ask(known) is None


def test_while_dvc_is_at_work_it_is_asked(known: Project) -> None:
    with (known.root / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert last_look.recall(known) is None
    assert last_look.recall(known) is not None


def test_what_dvc_learned_without_a_time_counts(known: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that rot on the disk: no time tells."""
    stat = last_look._stat
    monkeypatch.setattr(last_look, "_stat", lambda path: found[:-1] if (found := stat(path)) else found)
    last_look.forget(known)
    assert _ask(known) is not None
    _flip(known.root / "data/clean/test.parquet")
    assert last_look.recall(known) is not None
    assert DvcStore(known).forget_changed(["data/clean/test.parquet"])
    assert last_look.recall(known) is None
    assert _ask(known) is None


def test_code_is_compared_every_time(known: Project) -> None:
    shutil.copytree(REPOSITORY / "tasks", known.root / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    file = known.root / "tasks/clean.py"

    def prepared() -> list[Outcome] | None:
        code_lock._code_of.cache_clear()
        return prepare(known, propose(known, file=None, overrides=()))

    before = prepared()
    assert before is not None
    file.write_text(f"# a comment\n{file.read_text()}")
    assert prepared() == before
    file.write_text(f"{file.read_text()}\nMORE = 1\n")
    assert last_look.recall(known) is not None
    assert prepared() is None


def test_installed_packages_are_seen_every_time(
    known: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = {"secateur.criteria": {"gradient": "another:CRITERION"}}
    install(tmp_path / "site", name="another", files={"another.py": ""}, entry_points=entry_points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    extensions.forget()
    try:
        with pytest.raises(ConfigError, match="gradient is ours, and another"):
            prepare(known, propose(known, file=None, overrides=()))
    finally:
        monkeypatch.undo()
        extensions.forget()

"""The user's mistakes: refused before any compute, in one line that says what would work, with nothing written."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors import SafetensorError
from transformers import GPTNeoConfig, T5Config

from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.cli import cli, main
from secateur.errors import BudgetError, CheckpointError, ConfigError, DataError, ModelError, ProjectError
from secateur.models.construction import read_config as read_model_config
from secateur.workflow.driver import run_stage
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.preflight import check
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage
from tests.integration.in_process import digests, refused
from tests.tiny import git, secateur

HEADER = "text,label\n"
ROWS = "".join(f"row number {i} of many,{'yes' if i % 2 else 'no'}\n" for i in range(40))


@pytest.fixture(scope="module")
def workspace(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project that every test here leaves as it is, which each of them checks."""
    root = tmp_path_factory.mktemp("refused") / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    return root


def _source(folder: Path, content: str | bytes, name: str = "rows.csv") -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"ingest.source={file}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "ingest.source=rows.csv is empty (0 bytes)", id="empty"),
        pytest.param(HEADER, "rows.csv has a header and no rows", id="no rows"),
        pytest.param(
            ("body,mood,day\n" + ROWS),
            "rows.csv has no column 'text'; its columns are: body, mood, day",
            id="another column name",
        ),
        pytest.param(HEADER + ROWS.replace(",no", ",yes"), "all 40 rows have the label 'yes'", id="one class"),
        pytest.param(HEADER + ROWS + "a lonely row,maybe\n", "label 'maybe' has 1 row", id="a class with one row"),
        pytest.param(
            (HEADER + ROWS + "ein schöner Tag,yes\n").encode("latin-1"),
            "is not UTF-8: byte 0xf6 at offset",
            id="latin-1",
        ),
        pytest.param(
            HEADER + ROWS + "a,b,c,d\n",
            "rows.csv line 42 cannot be read: it has 4 cells where the header has 2",
            id="ragged",
        ),
        pytest.param(b"\0" * 5000, "rows.csv holds NUL bytes: it may be UTF-16 without a mark", id="zeros"),
    ],
)
def test_a_source_that_cannot_be_learned_from(
    workspace: Path, tmp_path: Path, content: str | bytes, message: str
) -> None:
    error = refused(workspace, "run", "-S", _source(tmp_path, content))
    assert isinstance(error, DataError)
    assert message in str(error)
    assert len(str(error)) < 500


def test_plan_refuses_what_run_refuses(workspace: Path, tmp_path: Path) -> None:
    source = _source(tmp_path, HEADER + ROWS.replace(",no", ",yes"))
    assert str(refused(workspace, "plan", "-S", source)) == str(refused(workspace, "run", "-S", source))
    asked = ("-S", "baseline.max_length=99999")
    assert str(refused(workspace, "plan", *asked)) == str(refused(workspace, "run", *asked))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there(workspace: Path, tmp_path: Path) -> None:
    for command in ("run", "plan"):
        error = refused(workspace, command, "-S", "run.device=cuda")
        assert isinstance(error, ConfigError)
        assert str(error).startswith("run.device=cuda: found no such device here")
        assert str(error).endswith("cpu or auto would work")
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    rows.write_text(HEADER + ROWS)
    asked = ("--data", str(rows), "--out", str(out), "--device", "cuda")
    assert str(refused(workspace, "prune", "models/baseline", *asked)).startswith("--device=cuda: found no such")
    assert not out.exists()


def test_plan_looks_at_whatever_run_looks_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing would be computed: what is restored needs space, too."""
    shutil.rmtree(project / "models" / "r1")
    monkeypatch.setattr("secateur.workflow.execution.free_bytes", lambda _: 10 * 10**6)
    assert "no space left: 10 MB are free" in str(refused(project, "plan")) == str(refused(project, "run"))


def test_a_model_that_no_baseline_can_start_from(workspace: Path, tmp_path: Path) -> None:
    asked = ("-S", f"baseline.model={workspace / 'models' / 'r2'}")
    error = refused(workspace, "plan", *asked)
    assert str(error).endswith("is pruned already; a baseline starts from a dense model")
    assert str(refused(workspace, "run", *asked)) == str(error)
    shutil.copy(workspace / "tiny-bert" / "config.json", tmp_path / "tiny.json")
    asked = ("-S", f"baseline.model=scratch:{tmp_path / 'tiny.json'}", "-S", "prune.budget.macs=0.01")
    error = refused(workspace, "plan", *asked)
    assert str(error).startswith("prune.budget.macs=0.01 is not reachable")
    assert str(refused(workspace, "run", *asked)) == str(error)


def test_plan_refuses_what_run_refuses_before_it_renders_anything(project: Path) -> None:
    """By params.yaml as it stands there, without an override."""
    (project / "alike.csv").write_text(HEADER + ROWS.replace(",no", ",yes"))
    (project / "broken").mkdir()
    (project / "broken" / "config.json").write_text("{")
    (project / "dvc.yaml").write_text("stages: {}\n")
    params = YAML(typ="safe").load(project / "params.yaml")
    cases = {
        "there is no file 'gone.csv'": ("ingest", "source", "gone.csv"),
        "all 40 rows have the label 'yes'": ("ingest", "source", "alike.csv"),
        "has no column 'words'": ("ingest", "text_column", "words"),
        "broken has no model.safetensors": ("baseline", "model", "./broken"),
        "there is no file './nowhere'": ("baseline", "model", "./nowhere"),
        "baseline.max_length=8000 is more than": ("baseline", "max_length", 8000),
    }
    for message, (section, key, value) in cases.items():
        changed = {**params, section: {**params[section], key: value}}
        (project / "params.yaml").write_text(json.dumps(changed))
        said = str(refused(project, "plan"))
        assert message in said
        assert said == str(refused(project, "run"))


def test_the_tip_for_another_encoding_works(workspace: Path, tmp_path: Path) -> None:
    source = _source(tmp_path, (HEADER + ROWS + "ein schöner Tag,yes\n").encode("cp1252"))
    error = refused(workspace, "run", "-S", source)
    assert "set ingest.encoding (for instance cp1252" in str(error)
    assert json.loads(_planned(workspace, source, "ingest.encoding=cp1252"))["changed"]


def _planned(root: Path, *overrides: str) -> str:
    """Check what ``run`` checks, without running: preflight on the overridden parameters, then the plan."""
    from secateur.workflow.params import propose

    check(Project(root), propose(Project(root), file=None, overrides=overrides).config)
    return json.dumps({"changed": list(overrides)})


def test_a_missing_source_names_what_is_there(workspace: Path) -> None:
    error = refused(workspace, "run", "-S", "ingest.source=row.csv")
    assert isinstance(error, DataError)
    assert "ingest.source: there is no file 'row.csv'; its folder holds constraints.txt, rows.csv" in str(error)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clean.nothing=1", "clean.nothing is not a known parameter; `secateur doctor --params` lists them"),
        ("clean.test_fraction=1.5", "clean.test_fraction: input should be less than 1 (found 1.5)"),
        ("baseline.epochs=many", "baseline.epochs: input should be a valid number"),
        ("prune.criterion=luck", "prune.criterion: 'luck' is no criterion; known: magnitude, gradient, l1, "),
        ("ingest.label_column=text", "must name different columns; 'text' is named twice"),
        ("ingest.confidence_column=label", "must name different columns; 'label' is named twice"),
        ("prune.rounds.r3.prev=r5", "round r3 cannot start from r5; baseline or r1 or r2 would work"),
        ("prune.rounds.r4.prev=r2", "rounds are r1, r2, ... in this order; found r4 in place 3"),
    ],
)
def test_a_parameter_that_does_not_fit(workspace: Path, override: str, message: str) -> None:
    error = refused(workspace, "run", "-S", override)
    assert isinstance(error, ConfigError)
    assert message in str(error)


@pytest.mark.parametrize("command", [["run"], ["plan"], ["why", "clean"], ["stage", "clean"], ["report"]])
def test_an_unknown_key_in_params_yaml_stops_every_command(project: Path, command: list[str]) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text().replace('"min_chars"', '"min_characters"'))
    error = refused(project, *command)
    assert isinstance(error, ConfigError)
    assert "clean.min_char" in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"run: {task: classification}\n", "ingest.source is missing from params.yaml"),
        (b"- run\n", "must hold sections"),
        (b"", "must hold sections"),
        (b"run: [\n", "other.yaml is not valid YAML at line 2"),
        (b"\xff\xfer\0u\0n\0", "other.yaml is not UTF-8: byte 0xff at 0"),
    ],
)
def test_a_params_file_that_is_none(workspace: Path, tmp_path: Path, content: bytes, message: str) -> None:
    other = tmp_path / "other.yaml"
    other.write_bytes(content)
    error = refused(workspace, "run", "--params", other)
    assert isinstance(error, ConfigError)
    assert message in str(error)


def test_an_unreachable_budget_names_the_nearest_one_which_is_accepted(workspace: Path) -> None:
    error = refused(workspace, "run", "-S", "prune.budget.macs=0.01")
    assert isinstance(error, BudgetError)
    assert str(error).startswith("prune.budget.macs=0.01 is not reachable")
    nearest = float(str(error).split("ask for ")[1].split()[0])
    assert 0.01 < nearest < 0.6
    assert _planned(workspace, f"prune.budget.macs={nearest}")
    with pytest.raises(BudgetError):
        _planned(workspace, f"prune.budget.macs={nearest - 0.001:.4f}")


_NAMED = "prune.multipliers={layers.*.heads: 1, layers.*.ffn: 1, layers.9.heads: 2, heads: 3}"


@pytest.mark.parametrize(
    ("overrides", "kind", "message"),
    [
        (
            ["prune.budget.macs=0.0001"],
            BudgetError,
            "prune.budget.macs=0.0001 is not reachable: with structures=heads+ffn",
        ),
        (["prune.budget.sparsity=0.9999"], BudgetError, "prune.budget.sparsity=0.9999 is not reachable"),
        (["prune.rounds.r1.budget=0.01"], BudgetError, "prune.rounds.r1.budget=0.01 is not reachable"),
        (["prune.granularity=weights"], ConfigError, "its budget is sparsity, found budget.macs"),
        (["prune.pattern=2:4"], ConfigError, "pattern 2:4 is for granularity weights, found granularity structures"),
        (
            ["prune.granularity=weights", "prune.budget.sparsity=0.6", "prune.pattern=2:4"],
            ConfigError,
            "pattern 2:4 is a sparsity of 0.5, found budget.sparsity=0.6",
        ),
        (
            ["prune.criterion=wanda"],
            ConfigError,
            "criterion wanda is for granularity weights, found granularity structures",
        ),
        (
            ["prune.criterion=fixed_weight"],
            ConfigError,
            "criterion fixed_weight needs multipliers, e.g. {layers.*.heads: 1",
        ),
        (
            ["prune.criterion=fixed_weight", _NAMED],
            ConfigError,
            "prune.multipliers names what is not there: layers.9.heads, heads; names of this model are "
            "layers.<0..1|*>.heads[.<0..3|*>] and layers.<0..1|*>.ffn[.<0..63|*>]",
        ),
        (
            ["prune.criterion=fixed_weight", "prune.multipliers={layers.*.heads: 1}"],
            ConfigError,
            "prune.multipliers lacks layers.0.ffn, layers.1.ffn",
        ),
        (
            ["prune.multipliers={layers.0.heads: -1}"],
            ConfigError,
            "prune.multipliers.layers.0.heads: input should be greater than or equal to 0",
        ),
        (
            ["prune.num_layers=9"],
            ModelError,
            "prune.num_layers=9 is more than baseline.model=./tiny-bert has (2 layers); ask for 2 or less",
        ),
        (
            ["prune.hidden_size=64"],
            ModelError,
            "prune.hidden_size=64 is more than baseline.model=./tiny-bert has (32 features); ask for 32 or less",
        ),
        (
            ["evaluate.deployed=onnx"],
            ConfigError,
            "register.runtime=torch is not what was evaluated (evaluate.deployed=onnx); set both to the same",
        ),
        (
            ["prune.regrow_fraction=0.7"],
            BudgetError,
            "prune.regrow_fraction=0.7 brings back so much that more than 0.7 of dense stays, and a round is to leave "
            "0.6; ask for a regrow_fraction below 0.6",
        ),
        (
            ["prune.regrow_fraction=0.1", "prune.hidden_size=24"],
            ConfigError,
            "brings back dense structures, which do not fit into prune.hidden_size=24",
        ),
        (
            ["prune.regularizer=l2", "prune.regularization.strength=20000"],
            ConfigError,
            "prune: regularization: l2 multiplies weights by 1 - learning_rate * strength * growth = -19 in its last "
            "step, which turns their sign; a strength below 1000 would work",
        ),
        (
            ["prune.budget.max_drop=0.05", "prune.budget.price=macs", "prune.min_heads=4", "prune.min_neurons=64"],
            BudgetError,
            "a promise of max_drop=0.05 has nothing to choose from: no structure may go",
        ),
        (["prune.action=divide"], ConfigError, "prune.action: input should be 'remove' or 'suppress'"),
        (
            ["prune.budget.latency=0.5", "prune.latency.length=65"],
            ModelError,
            "prune.latency.length=65 is more than baseline.model=./tiny-bert can read (64 tokens)",
        ),
    ],
)
def test_pruning_that_cannot_work_is_refused_before_any_stage(
    workspace: Path, overrides: list[str], kind: type, message: str
) -> None:
    asked = [part for override in overrides for part in ("-S", override)]
    error = refused(workspace, "run", *asked)
    assert isinstance(error, kind)
    assert message in str(error)
    assert str(refused(workspace, "plan", *asked)) == str(error)


def test_an_unreachable_time_is_refused_by_the_measured_table(workspace: Path) -> None:
    """Half of dense is what no cut of heads and neurons touches."""
    file = workspace / "latency_table.json"
    LatencyTable(
        attention_ms=(0.0, 0.25, 0.5, 0.75, 1.0),
        ffn_widths=(0, 64),
        ffn_ms=(0.0, 1.0),
        fixed_ms=4.0,
        dense_ms=8.0,
        settings=read_config(Project(workspace)).prune.latency,
        shape=shape_of(read_model_config(workspace / "tiny-bert")),
        machine={},
    ).write(file)
    try:
        error = refused(workspace, "run", "-S", "prune.budget.latency=0.4")
        assert isinstance(error, BudgetError)
        # 4.0 + 2 * (0.25 + 8/64): one head and 8 neurons stay in every layer.
        assert str(error).startswith("prune.budget.latency=0.4 is not reachable: with structures=heads+ffn")
        assert str(error).endswith(
            "the smallest structure left runs at 0.5938 of dense on onnx; ask for 0.5938 or more"
        )
        assert _planned(workspace, "prune.budget.latency=0.5938")
    finally:
        file.unlink()


@pytest.mark.parametrize("name", ["baseline.max_length", "evaluate.latency.length", "promote.latency.length"])
def test_a_length_beyond_the_model_names_its_limit(workspace: Path, name: str) -> None:
    error = refused(workspace, "run", "-S", f"{name}=65")
    assert isinstance(error, ModelError)
    assert str(error).startswith(f"{name}=65 is more than baseline.model=./tiny-bert can read (64 tokens)")
    assert _planned(workspace, f"{name}=64")


@pytest.mark.parametrize("config", [GPTNeoConfig(), T5Config()], ids=lambda config: config.model_type)
def test_an_unsupported_architecture_lists_the_supported_ones(workspace: Path, tmp_path: Path, config: Any) -> None:
    config.save_pretrained(tmp_path / "foreign")
    shutil.copy(workspace / "tiny-bert" / "model.safetensors", tmp_path / "foreign")
    error = refused(workspace, "run", "-S", f"baseline.model={tmp_path / 'foreign'}")
    assert isinstance(error, ModelError)
    why = "is not supported" if config.model_type == "gpt_neo" else "is an encoder with a decoder"
    assert f"model_type '{config.model_type}' {why}" in str(error)
    assert "supported: bert, " in str(error)


@pytest.mark.parametrize("held", ["pytorch_model.bin", None])
def test_a_model_without_safetensors(workspace: Path, tmp_path: Path, held: str | None) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(workspace / "tiny-bert", folder)
    (folder / "model.safetensors").unlink()
    if held:
        (folder / held).write_bytes(b"\x80\x04.")
    error = refused(workspace, "run", "-S", f"baseline.model={folder}")
    assert isinstance(error, ModelError)
    assert ("pickle can run code" in str(error)) == bool(held)


def _commands(folder: Path, out: Path) -> Iterator[list[str]]:
    yield ["inspect", str(folder)]
    yield ["bench", str(folder), "--runtime", "torch"]
    yield ["predict", str(folder), "a text"]
    for target in ("onnx", "padded"):
        yield ["export", str(folder), "--to", target, "--out", str(out)]


@pytest.mark.parametrize("name", ["nowhere", "data/clean", "rows.csv"])
def test_what_is_no_checkpoint(workspace: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    for command in _commands(workspace / name, out):
        error = refused(workspace, *command)
        assert isinstance(error, ModelError), command
        reasons = ("a checkpoint is a folder", "is not a checkpoint: it has no card.json")
        assert any(reason in str(error) for reason in reasons)
        assert str(workspace / name) in str(error)
    assert not out.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_tampered_checkpoint_names_the_file(workspace: Path, tmp_path: Path, name: str) -> None:
    folder, out = tmp_path / "r2", tmp_path / "out"
    shutil.copytree(workspace / "models" / "r2", folder)
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    (folder / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    for command in _commands(folder, out):
        error = refused(workspace, *command)
        assert isinstance(error, CheckpointError), command
        assert str(folder / name) in str(error), command
    assert not out.exists()


def test_an_edited_card_is_noticed(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r2"
    shutil.copytree(workspace / "models" / "r2", folder)
    (folder / "card.json").write_text((folder / "card.json").read_text()[:-20])
    for command in _commands(folder, tmp_path / "out"):
        assert f"{folder / 'card.json'} is not JSON" in str(refused(workspace, *command))


def test_too_little_space_is_refused_before_any_compute(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.workflow.execution.free_bytes", lambda _: 10 * 10**6)
    error = refused(workspace, "run", "-S", "evaluate.bootstrap_samples=150")
    assert isinstance(error, ProjectError)
    assert "no space left: 10 MB are free" in str(error)
    assert "`secateur gc` frees" in str(error), "a command that exists"


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_device_that_is_full_in_the_middle_of_a_stage_costs_no_old_output(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "secateur.evaluation.comparison.write_plot", _full
    )  # metrics, details and predictions are written by then
    error = refused(workspace, "stage", "evaluate")
    assert isinstance(error, ProjectError)
    assert "no space left on the device while writing" in str(error)
    assert git(workspace, "status", "--porcelain") == ""


def test_a_device_that_is_full_when_dvc_stores_the_outputs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (project / "dvc.lock").read_bytes()
    workspace = Project(project)
    config = read_config(workspace)
    monkeypatch.setattr("dvc.repo.Repo.commit", _full)
    with pytest.raises(ProjectError, match="no space left on the device while DVC worked"):
        run_stage(workspace, config, find_stage(config, project, "report"), commit=True)
    assert (project / "dvc.lock").read_bytes() == before


def test_weights_that_do_not_fit_on_the_device_are_one_error(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secateur.models.checkpoint import load, save

    folder = tmp_path / "copy"

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    # What safetensors 0.8 raises on a full tmpfs: an error type of its own, without a number.
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save(load(workspace / "models" / "r2"), None, folder, card={}, check_reload=False)
    assert caught.value.errno == errno.ENOSPC


def test_a_full_device_anywhere_else_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("secateur.cli.cli", type("Full", (), {"main": staticmethod(_full)}))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("secateur: no space left on the device; finished stages are kept")


@pytest.fixture
def locked(workspace: Path) -> Iterator[Path]:
    """The workspace while another process (here: another open file) holds it."""
    with (workspace / ".secateur" / "run.lock").open("w+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        yield workspace


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["run", "-S", "evaluate.bootstrap_samples=150"],
        ["run", "--driver", "dvc"],
        ["stage", "evaluate"],
        ["report"],
    ],
    ids=" ".join,
)
def test_a_workspace_that_another_run_holds(locked: Path, command: list[str]) -> None:
    error = refused(locked, *command)
    assert isinstance(error, ProjectError)
    assert f"another command (process 4711) holds {locked}; wait for it to end, or stop it" in str(error)


def test_reading_commands_need_no_lock(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(locked):
        cli.main(["inspect", "models/r1", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["card"]["stage"] == "prune@r1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-S", "ingest.source=nowhere.csv"], "ingest.source: there is no file 'nowhere.csv'"),
        (["run", "-S", "prune.budget.macs=0.01"], "prune.budget.macs=0.01 is not reachable"),
        (["generate", "tiny-bert", "a text"], "tiny-bert holds "),
    ],
)
def test_at_the_terminal_it_is_one_line_and_exit_code_2(workspace: Path, arguments: list[str], message: str) -> None:
    before = digests(workspace)
    completed = secateur(workspace, *arguments, check=False)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert len(completed.stderr.splitlines()) == 1, completed.stderr
    assert completed.stderr.startswith(f"secateur: {message}")
    assert git(workspace, "status", "--porcelain") == ""
    assert digests(workspace) == before


def test_a_lock_that_dvc_holds_is_respected_too(workspace: Path) -> None:
    from dvc.repo import Repo

    with Repo(str(workspace)).lock:
        error = refused(workspace, "plan")
    assert isinstance(error, ProjectError)
    assert "another DVC process holds" in str(error)
    assert DvcStore(Project(workspace)).order()

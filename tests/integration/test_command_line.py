"""The command line: help for everything, JSON that parses, and what each command says about a finished project."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from secateur.cli import cli
from secateur.config.prune import FORMER_NAMES
from secateur.errors import CheckpointError
from secateur.models.checkpoint import load, load_tokenizer
from secateur.processes.environment import ENVIRONMENT
from secateur.workflow.params import flatten, read_config
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tiny import environment, git, secateur

TEXTS = ["the day good a river", "my house awful today", "a"]


def _commands(command: click.Command, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield name, command
    for child, nested in getattr(command, "commands", {}).items():
        yield from _commands(nested, (*name, child))


@pytest.mark.parametrize("name", [name for name, _ in _commands(cli)], ids=lambda name: " ".join(name) or "secateur")
def test_every_command_has_help_with_an_example(name: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        shown = CliRunner().invoke(cli, [*name, flag], prog_name="secateur")
        assert shown.exit_code == 0
    said = " ".join(shown.output.split())
    assert f"Example: secateur {' '.join(name)}".strip() in said


def test_every_option_says_what_it_does() -> None:
    for name, command in _commands(cli):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.show_default, f"{name}: {parameter.name}"


_IMPORTS = """
import contextlib, io, sys
from secateur.cli import cli
def call(*arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(arguments, standalone_mode=False)
    print(sorted({{"torch", "transformers", "datasets", "prefect", "mlflow", "dvc"}} & set(sys.modules)))
{calls}
"""


def _imported(root: Path, *calls: tuple[str, ...]) -> list[list[str]]:
    """Return which heavy packages are in memory after each command, all in one fresh process."""
    code = _IMPORTS.format(calls="\n".join(f"call(*{call!r})" for call in calls))
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment(), capture_output=True, text=True, check=True
    )
    return [json.loads(line.replace("'", '"')) for line in completed.stdout.splitlines()]


def test_help_imports_nothing_heavy(finished_project: Path) -> None:
    helps = [(*name, "--help") for name, _ in _commands(cli)]
    assert _imported(finished_project, *helps) == [[]] * len(helps)


def test_plan_why_and_the_registry_do_without_torch(finished_project: Path) -> None:
    calls = [("plan", "--json"), ("why", "prune@r2"), ("models", "list", "--json")]
    plan, why, models = _imported(finished_project, *calls)
    assert plan == why == ["dvc"]
    assert models == ["dvc", "mlflow"]


def _mistakes() -> Iterator[Any]:
    yield ["runn"], "No such command 'runn'"
    yield ["run", "--drivr", "dvc"], "No such option"
    yield ["bench"], "Missing argument 'CKPT...'"
    yield ["bench", "models/r2", "--runtime", "tpu"], "'tpu' is not one of 'torch', 'onnx', 'onnx-int8'"
    yield ["export", "models/r2", "--to", "padded", "--int8", "--out", "x"], "--int8 goes with --to onnx"
    yield ["export", "models/r2", "--to", "onnx"], "Missing option '--out'"


@pytest.mark.parametrize(("arguments", "message"), _mistakes(), ids=lambda value: value[0] if value else "")
def test_a_mistyped_command_is_told_so(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_outside_a_project_it_says_so(tmp_path: Path) -> None:
    for command in (["run"], ["plan"], ["why", "clean"], ["report"], ["models", "list"]):
        assert "no project here" in str(refused(tmp_path, *command))


def test_works_from_a_deeper_folder(finished_project: Path) -> None:
    planned = json.loads(output(finished_project / "models" / "r2", "plan", "--json"))
    assert {entry["verdict"] for entry in planned} == {"up to date"}
    assert "prune@r2 is up to date" in output(finished_project / "data", "why", "prune@r2")
    ran = json.loads(secateur(finished_project / "reports", "run", "--json").stdout)
    assert {entry["action"] for entry in ran["stages"]} == {"cached"}
    assert git(finished_project, "status", "--porcelain") == ""


def test_inspect(finished_project: Path) -> None:
    found = json.loads(output(finished_project, "inspect", "models/r2", "--json"))
    card = json.loads((finished_project / "models/r2/card.json").read_text())
    assert found["card"] == card
    assert [layer["heads"] for layer in found["layers"]] == card["widths"]["heads"]
    assert [layer["dense_ffn"] for layer in found["layers"]] == [64, 64]
    metrics = json.loads((finished_project / "reports/metrics.json").read_text())["rounds"]["r2"]
    assert {name: found[name] for name in ("params", "nonembedding_params", "macs", "bytes")} == {
        name: metrics[name] for name in ("params", "nonembedding_params", "macs", "bytes")
    }
    table = output(finished_project, "inspect", "models/r2")
    assert f"{found['params']:,}" in table
    assert re.search(rf"0\s+{card['widths']['heads'][0]} of 4\s+{card['widths']['ffn'][0]} of 64", table)


def test_bench(finished_project: Path) -> None:
    printed = output(
        finished_project,
        *("bench", "models/baseline", "models/r2", "--runtime", "torch", "--repeats", "3", "--length", "8", "--json"),
    )
    results = json.loads(printed)["results"]
    assert [(row["checkpoint"], row["runtime"]) for row in results] == [
        ("models/baseline", "torch"),
        ("models/r2", "torch"),
    ]
    for row in results:
        assert set(row) == {"checkpoint", "runtime", "median_ms", "p95_ms", "speedup"}
        assert 0 < row["median_ms"] <= row["p95_ms"]
    assert results[0]["speedup"] == 1
    assert results[1]["speedup"] == pytest.approx(results[0]["median_ms"] / results[1]["median_ms"])


def test_predict_reads_arguments_or_lines(finished_project: Path) -> None:
    by_argument = json.loads(output(finished_project, "predict", "models/r2", "--json", *TEXTS))
    assert [row["text"] for row in by_argument] == TEXTS
    assert all(row["label"] in {"negative", "positive"} and 0.5 <= row["score"] <= 1 for row in by_argument)
    lines = "\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n"
    assert json.loads(output(finished_project, "predict", "models/r2", "--json", stdin=lines)) == by_argument
    assert "a [bracket] stays" in output(finished_project, "predict", "models/r2", "a [bracket] stays")


def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    return logits


def test_export_padded_loads_with_plain_transformers(finished_project: Path, tmp_path: Path) -> None:
    out = tmp_path / "padded"
    assert str(out) in output(finished_project, "export", "models/r2", "--to", "padded", "--out", out)
    folder = finished_project / "models" / "r2"
    expected = _logits(load(folder), load_tokenizer(folder))
    plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
    # The zeros take part in the sums, in another order of additions.
    torch.testing.assert_close(_logits(plain, AutoTokenizer.from_pretrained(out)), expected, atol=1e-5, rtol=0)
    assert plain.config.id2label == {0: "negative", 1: "positive"}


def test_export_onnx_gives_the_same_logits_and_predicts(finished_project: Path, tmp_path: Path) -> None:
    out = tmp_path / "onnx"
    output(finished_project, "export", "models/r2", "--to", "onnx", "--out", out)
    folder = finished_project / "models" / "r2"
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    encoded = load_tokenizer(folder)(TEXTS, padding=True, return_tensors="np")
    feed = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    found = torch.from_numpy(session.run(None, feed)[0])
    # Other kernels for the same sums; 1e-4 is what the export itself tolerates.
    torch.testing.assert_close(found, _logits(load(folder), load_tokenizer(folder)), atol=1e-4, rtol=0)
    by_onnx = json.loads(output(finished_project, "predict", out, "--json", *TEXTS))
    by_torch = json.loads(output(finished_project, "predict", "models/r2", "--json", *TEXTS))
    assert [row["label"] for row in by_onnx] == [row["label"] for row in by_torch]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_export_never_overwrites(finished_project: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "taken"
    out.mkdir() if kind == "folder" else out.write_text("mine")
    for target in ("onnx", "padded"):
        error = refused(finished_project, "export", "models/r2", "--to", target, "--out", out)
        assert isinstance(error, CheckpointError)
        assert str(error) == f"--out {out} exists already; name a new folder"
    assert not any(out.iterdir()) if kind == "folder" else out.read_text() == "mine"


def test_doctor_lists_every_parameter(finished_project: Path) -> None:
    listed = {row["name"]: row for row in json.loads(output(finished_project, "doctor", "--params", "--json"))}
    assert all(row["type"] and row["description"] for row in listed.values())
    config = read_config(Project(finished_project)).model_dump(mode="json", by_alias=True)
    held = {name for name in flatten(config) if not name.startswith("prune.rounds.")}
    # A budget names one kind; the reference lists them all.
    missing = held - set(listed) - {f"prune.{name}" for name in FORMER_NAMES}
    assert missing == set()
    assert "prune.budget.macs" in listed
    table = output(finished_project, "doctor", "--params")
    assert all(name in table for name in listed)


def test_doctor_finds_nothing_wrong_where_there_is_no_project_yet(tmp_path: Path) -> None:
    checks = {check["what"]: check for check in json.loads(output(tmp_path, "doctor", "--json"))["checks"]}
    assert checks["project"]["ok"] is None and "`secateur init` makes one" in checks["project"]["found"]


def test_doctor_finds_a_finished_project_in_order(finished_project: Path) -> None:
    checks = {check["what"]: check for check in json.loads(output(finished_project, "doctor", "--json"))["checks"]}
    assert not [what for what, check in checks.items() if check["ok"] is False]
    assert checks["project"]["found"] == str(finished_project)
    assert checks["DVC workspace"]["found"] == "8 stages"
    assert checks["changed code or params"]["found"] == "none"


def test_run_prints_the_table_and_json(finished_project: Path) -> None:
    printed = json.loads(output(finished_project, "run", "--json"))
    assert set(printed) == {"stages", "seconds", "models"}
    assert [row["model"] for row in printed["models"]] == ["baseline", "r1", "r2"]
    assert all(re.fullmatch(r"[0-9a-f]{32}", stage["key"]) for stage in printed["stages"])
    short = output(finished_project, "run")
    assert "r2 in PyTorch is " in short and "Deployed in PyTorch, on " in short
    assert "0 of 8 stages executed in" in short
    assert max(map(len, short.splitlines())) <= 80
    assert re.search(r"r2\s+0\.\d{4}\s+0\.\d{3} to [01]\.\d{3}\s+\d+\.\d\d ms\s+\d+\.\dx\s+0\.\d MB\s+accepted", short)
    table = output(finished_project, "run", "--wide")
    assert "Dense against rounds (test set)" in table
    assert re.search(r"r2\s+0\.02 M\s+0\.4 M\s+0\.\d{4}\s+0\.\d{3} to 0\.\d{3}", table)


def test_it_is_called_secateur_however_it_is_started(tmp_path: Path) -> None:
    named = "import secateur.cli as c; c.cli.callback = lambda: print(open('/proc/self/comm').read().strip()); "
    run = [sys.executable, "-c", named + "import sys; sys.argv[1:] = ['doctor', '--help']; c.main()"]
    printed = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Usage: secateur doctor" in printed
    if sys.platform == "linux":
        assert printed.startswith("secateur\n")


def test_a_job_without_an_input_is_told_so(finished_project: Path) -> None:
    """As ``<&-`` and some schedulers start one: there is no stream at all."""
    command = [sys.executable, "-P", "-m", "secateur.cli", "predict", "models/r1"]
    shown = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command],
        cwd=finished_project, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "no text: give it as an argument or on standard input" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_letters_that_a_terminal_lacks_are_replaced(finished_project: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "secateur.cli", "predict", "models/r1", "schön 好"],
        cwd=finished_project, env={**environment(), "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"sch?n" in shown.stdout


def test_onnx_runtime_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    """Since 1.32 it does so from Linux too, and keeps a number of the device in the home."""
    values = (make_tensor_value_info(name, 1, [1]) for name in "xy")
    graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", *([value] for value in values))
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", f"import onnxruntime; onnxruntime.InferenceSession({str(tmp_path / 'model.onnx')!r})"],
        env=inherited | ENVIRONMENT | {"HOME": str(home), "XDG_CACHE_HOME": str(home)},
        check=True,
        capture_output=True,
    )
    assert not any(home.iterdir())

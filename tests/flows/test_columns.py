"""Every table of the command line in 80 columns: nothing is cut, nothing sticks out."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from secateur.cli import display, plan_display, promotion_display, version_display
from secateur.registry.history import Event
from secateur.registry.registered_version import ListedModel, RegisteredVersion
from secateur.registry.tags import Aliases, VersionTags
from secateur.registry.verdict import Verdict
from secateur.workflow.explain import Explanation

DIGEST = "3be1bdcffbf9d9e2bc3e4ed015b631c40f634a8c31eb06a9a5e0fe4ae1ab4c55"
REASON = "macro-F1 0.7812 -> 0.7699 (-0.0113) on the same 2809 test rows; a loss of 0.0100 is allowed"


@dataclass(frozen=True)
class _Condition:
    name: str = "quality_drop"
    asked: str = "macro-F1 at most 0.0100 below the champion's"
    found: str = "0.7699 against 0.7812"
    passed: bool = False
    reason: str = REASON


def _version(number: int) -> RegisteredVersion:
    tags = {"secateur.stage": "prune@r12", "secateur.runtime": "onnx-int8", "secateur.commit": DIGEST[:40]}
    metrics = {"deployed_macro_f1": 0.7899, "onnx-int8_ms": 1.83, "onnx-int8_speedup": 1.7, "deployed_bytes": 8.9e6}
    return RegisteredVersion(
        name="tweets-sentiment",
        version=str(number),
        aliases=("challenger", "champion"),
        created=1_760_000_000_000,
        run=None,
        metrics=metrics,
        tags=VersionTags(tags),
    )


def _models() -> list[ListedModel]:
    return [ListedModel("tweets-sentiment", Aliases(), tuple(_version(n) for n in (1003, 1002)))]


def _verdict() -> Verdict:
    fields = dict.fromkeys(Verdict.__dataclass_fields__)
    fields |= {"conditions": (_Condition(), _Condition(name="latency", passed=True)), "version": "4", "promoted": False}
    return Verdict(**{**fields, "champion_before": "2", "reason": REASON})


def _sweep() -> dict[str, Any]:
    dense = {"params": 22_710_000, "macs": 344_600_000, "macro_f1": 0.797, "loss": 0.512}
    point = {**dense, "method": "fluctuation", "asked": 0.25, "error": None, "front": True, "seconds": 103.4}
    return {"measure": "macro_f1", "dense": dense, "points": [point], "calibration_s": {"fluctuation": 3.0}}


def _show_version() -> None:
    tags = {"secateur.params_sha256": DIGEST, "secateur.files": f'{{"model.safetensors": "{DIGEST}"}}'}
    version_display.model_version(replace(_version(3), tags=VersionTags(tags)))


SHOWN = {
    "models list": lambda: display.models_table(_models(), wide=False),
    "models show": _show_version,
    "promote": lambda: promotion_display.verdict(_verdict()),
    "history": lambda: promotion_display.history(
        [Event(**{**dict.fromkeys(Event.__dataclass_fields__), "number": 12, "when": "2026-01-02T03:04:05Z",
                  "what": "rolled_back", "from_": "1003", "to": "1002", "who": "somebody@a-long-host-name.example",
                  "why": REASON, "forced": False})]
    ),
    "plan": lambda: plan_display.plan_table(
        [Explanation(**{**dict.fromkeys(Explanation.__dataclass_fields__), "stage": "prune@r1", "verdict": "run",
                        "causes": (f"models/base changed: {DIGEST} -> {DIGEST}",), "upstream": ("baseline",)})],
        as_json=False,
    ),
    "sweep": lambda: display.sweep_table(_sweep()),
}  # fmt: skip


@pytest.mark.parametrize("command", SHOWN)
def test_a_table_fits_and_nothing_is_cut(command: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    SHOWN[command]()
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next((n for n, line in enumerate(lines) if line.startswith("calibration")), len(lines))]
    assert "…" not in "".join(lines)
    assert all(len(line) <= 80 for line in table if not line.startswith("version ")), max(table, key=len)


def test_every_digest_is_there_as_a_whole(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _show_version()
    assert DIGEST in "".join(capsys.readouterr().out.split())


def test_a_version_is_told_in_words_and_units(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    metrics = {
        "deployed_macro_f1": 0.79851, "deployed_macro_f1_low": 0.7811, "deployed_macro_f1_high": 0.8154,
        "macro_f1": 0.79889, "deployed_change": 0.00168, "deployed_lost": 59.0, "params": 18_629_091.0,
        "macs": 213_337_216.0, "onnx-int8_ms": 2.2205, "onnx-int8_speedup": 1.48, "deployed_bytes": 19_634_844.0,
        "tokens_per_second_8": 1234.0, "something_new": 3.0, "training/loss": 1.0,
    }  # fmt: skip
    tags = {"secateur.runtime": "onnx-int8", "secateur.reproducible": "true", "secateur.files": '{"a": "b"}'}
    rolled_back = {"secateur.rolled_back.r3": '{"reason": "macro-F1 fell", "test": {}}'}
    version_display.model_version(replace(_version(3), metrics=metrics, tags=VersionTags(tags | rolled_back)))
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "Macro-F1, ONNX int8 0.799", "its interval 0.781 to 0.815", "Macro-F1, PyTorch 0.799",
        "Against dense, ONNX int8 +0.2 points", "Rows that only dense gets right 59", "Parameters 18.6 M",
        "Multiply-accumulates per row 213 M", "Time of a call, ONNX int8 2.22 ms", "as fast as dense 1.48x",
        "On disk, ONNX int8 19.6 MB", "Tokens per second, 8 at once 1 234", "Something new 3",
        "Deployed as ONNX int8", "From a clean tree yes, so it can be rebuilt",
        "Files of the checkpoint 1, with its sha256", "r3, rolled back macro-F1 fell",
    ):  # fmt: skip
        assert line in said, line
    assert not any("_" in line or "training" in line for line in said)


def test_a_plan_tells_a_changed_file_once_and_many_by_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    """After an upgrade every stage of a chain listed the same dozens of files."""
    one, *more = (f"code secateur/a/{name}.py changed\n    +1: x" for name in "abcd")
    plan_display.plan_table(
        [
            Explanation("prune@r1", "run", (one,), ()),
            Explanation("prune@r2", "run", (one, *more), ()),
            Explanation("evaluate", "run", ("parameter evaluate.batch_size changed from 1 to 2",), ("prune@r2",)),
        ],
        as_json=False,
    )
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("a/a.py changed") == 1 and "prune@r1 run code secateur/a/a.py changed prune@r2" in said
    assert "3 files of its code differ (`secateur why prune@r2`); 1 of the files of code above" in said
    assert "evaluate run parameter evaluate.batch_size changed from 1 to 2; depends on prune@r2" in said


def test_wide_models_say_where_they_come_from(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    display.models_table(_models(), wide=True)
    [line, _] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tweets-sentiment")]
    assert line.split()[-4:-2] == ["1.70x", "onnx-int8"] and DIGEST[:8] in line


@pytest.mark.parametrize(
    "text", ["[/no] end", "a [bold] word", r"\[red] and \\[/]", ":smile: 100 %", "x[1] [B]", "C:\\"]
)
def test_the_text_of_a_user_is_shown_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    display.paragraph(text)
    display.say(text)
    shown = capsys.readouterr()
    assert (shown.out.strip(), shown.err.strip()) == (text, text)


def test_a_label_a_tag_and_an_event_of_others_change_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    junk = "[/no] [red]"
    version_display.model_version(replace(_version(3), tags=VersionTags({junk: junk}), metrics={junk: 1.0}))
    event = {**dict.fromkeys(Event.__dataclass_fields__, junk), "number": 1, "what": "promoted", "forced": False}
    promotion_display.history([Event(**event)])
    named = replace(_version(3), name=junk, aliases=(junk,), tags=VersionTags({"secateur.stage": junk}))
    display.models_table([ListedModel(junk, Aliases(), (named,)), ListedModel(junk, Aliases(), ())], wide=True)
    assert capsys.readouterr().out.count("[/no]") >= 12

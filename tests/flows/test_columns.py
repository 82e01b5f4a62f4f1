"""Every table of the command line in 80 columns: nothing is cut, nothing sticks out."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from secateur.cli import display, promotion_display
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
    display.model_version(replace(_version(3), tags=VersionTags(tags)))


SHOWN = {
    "models list": lambda: display.models_table(_models(), wide=False),
    "models show": _show_version,
    "promote": lambda: promotion_display.verdict(_verdict()),
    "history": lambda: promotion_display.history(
        [Event(**{**dict.fromkeys(Event.__dataclass_fields__), "number": 12, "when": "2026-01-02T03:04:05Z",
                  "what": "rolled_back", "from_": "1003", "to": "1002", "who": "somebody@a-long-host-name.example",
                  "why": REASON, "forced": False})]
    ),
    "plan": lambda: display.plan_table(
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
    display.model_version(replace(_version(3), tags=VersionTags({junk: junk}), metrics={junk: 1.0}))
    event = {**dict.fromkeys(Event.__dataclass_fields__, junk), "number": 1, "what": "promoted", "forced": False}
    promotion_display.history([Event(**event)])
    named = replace(_version(3), name=junk, aliases=(junk,), tags=VersionTags({"secateur.stage": junk}))
    display.models_table([ListedModel(junk, Aliases(), (named,)), ListedModel(junk, Aliases(), ())], wide=True)
    assert capsys.readouterr().out.count("[/no]") >= 12

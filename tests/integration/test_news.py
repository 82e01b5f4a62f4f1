"""What others are told: once, signed, tried again, and in the words of Slack and Teams."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flows.retrain
from flows.retrain import retrain
from secateur.announcements import announcement
from secateur.announcements.announcement import News, tell
from secateur.announcements.webhook import Letter, post, signature
from secateur.announcements.webhook_bodies import body_of
from secateur.config.promote import PromoteSection
from secateur.errors import Occupied, ProjectError
from secateur.scheduling.retraining import Retraining
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.tiny import write_params

NEWS = News("held", "tiny", {"version": "3", "champion": "2", "failed": ["size"], "why": "too large"})


class _Hook(BaseHTTPRequestHandler):
    got: list[tuple[dict[str, str], bytes]]
    answers: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((dict(self.headers), body))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Any]:
    """A receiver: what it got, and what it answers before it says 200."""
    handler: Any = type("Handler", (_Hook,), {"got": [], "answers": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.address = f"http://127.0.0.1:{server.server_port}/secret-path"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder; nothing of Prefect hears what is told."""
    return Project(tmp_path)


@pytest.fixture(autouse=True)
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Prefect would be told."""
    names: list[str] = []
    monkeypatch.setattr(announcement, "emit", lambda name, **_: names.append(name))
    return names


def _section(hook: Any, **values: Any) -> PromoteSection:
    return PromoteSection(webhook=hook.address, webhook_backoff_s=0.0, **values)


def test_news_are_told_once_and_signed(
    project: Project, hook: Any, emitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_WEBHOOK_SECRET", "a secret")
    for _ in range(2):
        tell(project, _section(hook), NEWS)
    [(headers, body)] = hook.got
    assert headers["Idempotency-Key"] == NEWS.id == json.loads(body)["id"]
    assert headers["X-Secateur-Signature"] == signature("a secret", headers["X-Secateur-Timestamp"], body)
    assert emitted == ["held"]
    other = News("held", "tiny", {**NEWS.about, "version": "4"})
    tell(project, _section(hook, webhook_events=("promoted",)), other)
    assert (len(hook.got), emitted) == (1, ["held", "held"])
    # Numbers that differ each time are no news.
    for seconds in ("1", "2"):
        tell(project, _section(hook), News("held", "tiny", {"why": seconds}, same={"version": "5"}))
    assert [json.loads(body).get("why") for _, body in hook.got] == ["too large", "1"]


def test_what_asks_to_come_again_is_tried_again(project: Project, hook: Any) -> None:
    hook.answers += [503, 429]
    tell(project, _section(hook), NEWS)
    assert len(hook.got) == 3
    assert len({headers["Idempotency-Key"] for headers, _ in hook.got}) == 1


def test_what_was_not_taken_goes_with_the_next_news(
    project: Project, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers += [500, 502]
    tell(project, _section(hook, webhook_tries=2), NEWS)
    assert "answered 502; it is told with the next news; what was done stays done" in caplog.text
    assert "secret-path" not in caplog.text
    promoted = News("promoted", "tiny", {"to": "4"})
    tell(project, _section(hook), promoted)
    assert [headers["Idempotency-Key"] for headers, _ in hook.got] == [NEWS.id, NEWS.id, NEWS.id, promoted.id]
    hook.answers += [404]
    tell(project, _section(hook), News("promoted", "tiny", {"to": "5"}))
    tell(project, _section(hook), News("promoted", "tiny", {"to": "6"}))
    assert len(hook.got) == 6
    assert "answered 404; it is not told again" in caplog.text


def test_a_kill_before_it_was_taken_loses_and_doubles_nothing(
    project: Project, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(announcement, "post", killed)
        with pytest.raises(KeyboardInterrupt):
            tell(project, _section(hook), NEWS)
    tell(project, _section(hook), NEWS)  # the same: it counts as told
    promoted = News("promoted", "tiny", {"to": "4"})
    tell(project, _section(hook), promoted)
    assert [headers["Idempotency-Key"] for headers, _ in hook.got] == [NEWS.id, promoted.id]


def test_who_says_nothing_is_waited_for_within_limits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        letter = Letter(f"http://127.0.0.1:{silent.getsockname()[1]}/x", "{}", "key")
        sent = post(letter, timeout_s=0.1, tries=2, backoff_s=0.05)
    assert "was not reached: timed out" in str(sent.problem)
    assert sent.again
    assert time.monotonic() - began < 3


def test_what_cannot_be_written_down_is_said(tmp_path: Path, hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".secateur").write_text("a file")
    tell(Project(tmp_path), _section(hook), NEWS)
    assert hook.got == []
    assert "held of tiny was not told: " in caplog.text


def test_messages_for_slack_and_teams(project: Project, hook: Any) -> None:
    why = "<!channel> *see* [here](https://evil.example) & there"
    news = News("held", "tiny", {"version": "3", "failed": ["size", "latency"], "why": why})
    tell(project, _section(hook, webhook_format="slack"), news)
    slack = json.loads(hook.got[0][1])
    assert slack["text"] == "tiny version 3 is held"
    assert slack["blocks"][0] == {"type": "header", "text": {"type": "plain_text", "text": "tiny version 3 is held"}}
    text = slack["blocks"][1]["text"]["text"]
    assert "*Failed*: size, latency" in text
    assert "&lt;!channel&gt; \u200b*see\u200b* [here](https://evil.example) &amp; there" in text
    [attachment] = json.loads(body_of(news.payload, "teams"))["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    title, facts = attachment["content"]["body"]
    assert title["text"] == "tiny version 3 is held"
    shown = "\\<!channel\\> \\*see\\* \\[here\\]\\(https://evil.example\\) & there"
    assert {"title": "Why", "value": shown} in facts["facts"]
    for what, said in (("promoted", "is the champion"), ("waits", "waits for approvals"), ("failed", "failed")):
        payload = News(what, "tiny", {"to": "3", "who": "anna"}).payload  # type: ignore[arg-type]
        assert json.loads(body_of(payload, "slack"))["text"] == f"tiny version 3 {said}"


@pytest.mark.parametrize("error", [ProjectError("the disk is full"), RuntimeError("a defect"), Occupied("another")])
def test_a_retraining_that_fails_is_told_and_raised(
    project: Project, hook: Any, emitted: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any) -> None:
        raise error

    write_params(project.root / "params.yaml", {"promote.webhook": hook.address})
    monkeypatch.setattr(flows.retrain, "look", fails)
    for cause in ("schedule", "by hand, because rows drift"):  # who asks by hand reads it there
        with pytest.raises(type(error)):
            retrain(project, cause=cause, build=list)
    expected = [] if isinstance(error, Occupied) else ["failed"]
    assert emitted == expected
    assert [json.loads(body)["event"] for _, body in hook.got] == [f"secateur.{name}" for name in expected]
    if expected:
        assert str(error) in json.loads(hook.got[0][1])["why"]


def test_rows_that_are_held_are_told_once(
    project: Project, hook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_params(project.root / "params.yaml", {"promote.webhook": hook.address})
    before = SimpleNamespace(config=read_config(project), moved=("rows.csv",), stale=True, champion=None)
    monkeypatch.setattr(flows.retrain, "look", lambda _: before)
    held = Retraining("held", "the rows are not fit to train on: half of them")
    monkeypatch.setattr(flows.retrain, "_build_if_fit", lambda *_: held)
    monkeypatch.setattr(flows.retrain, "refresh", lambda _: None)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert retrain(project, cause="test", build=list).action == "held"
    [(_, body)] = hook.got
    assert json.loads(body)["why"] == "the rows are not fit to train on: half of them"

"""Promotion with real models in a real registry: who is held, who goes through, and what is left when it fails."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import secateur.registry.judgement
import secateur.registry.promotion
from flows.promote import promote, rollback
from secateur.announcements.webhook import signature
from secateur.cli import cli
from secateur.errors import ConfigError, ModelError, NotJudged, ProjectError, SecateurError
from secateur.files import write_json
from secateur.registry import fresh_process
from secateur.registry.fresh_process import Answer
from secateur.registry.history import events
from secateur.registry.measurement import answers_here
from secateur.registry.model_source import Resolved
from secateur.registry.verdict import Verdict, kept
from secateur.scheduling.live import LIVE, Live, Shadowed
from tests.integration.registry_stand import Stand, broken_config, changed, shuffled, slow, use_script, without_class


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """One registry for all tests: version 1 is good."""
    stand = Stand(tmp_path_factory.mktemp("promotion") / "project")
    assert stand.register("baseline") == "1"
    return stand


@pytest.fixture
def stand(made: Stand) -> Stand:
    """The registry with nobody promoted yet, strict thresholds, and version 1 as challenger."""
    made.configure()
    records = made.records
    for name in records.tags():
        records.tag(name, None)
    for alias in ("champion", "previous"):
        records.point(alias, None)
    records.point("challenger", "1")
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, stand: Stand) -> Stand:
    """Let this process answer where a fresh one would: that one is tested by itself, and costs seconds."""

    def here(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
        return answers_here(folder, texts, num_threads=num_threads)

    def version(resolved: Resolved, texts: Sequence[str], **_: Any) -> list[Answer]:
        return answers_here(resolved.folder, texts, num_threads=1)

    monkeypatch.setattr(secateur.registry.judgement, "answers_of_folder", here)
    monkeypatch.setattr(secateur.registry.promotion, "answers_of_version", version)
    return stand


def _run(stand: Stand, *arguments: str) -> tuple[int, str]:
    """Run a command in the project; return its exit code and standard output."""
    with chdir(stand.root):
        result = CliRunner().invoke(cli, list(arguments))
    if isinstance(result.exception, SecateurError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def _better(stand: Stand, name: str) -> str:
    """Register a model that answers as the good one does."""
    return stand.register(name, changed(stand.good, lambda tensors: tensors["classifier.bias"].add_(0.001)))


def test_the_first_champion_passes_and_answers_through_its_alias(stand: Stand) -> None:
    code, printed = _run(stand, "models", "promote", "models:/tiny@challenger", "--json", "--reason", "the first")
    verdict = json.loads(printed)
    assert (code, verdict["promoted"], verdict["forced"], verdict["champion_before"]) == (0, True, False, None)
    assert [condition["name"] for condition in verdict["conditions"]] == [
        "digests", "reload", "test_rows", "quality_floor", "latency", "size", "classes", "slices", "smoke",
    ]  # fmt: skip
    assert all(condition["passed"] for condition in verdict["conditions"])
    assert stand.records.alias("champion") == "1"
    assert stand.records.alias("previous") is None
    tags = stand.records.version_tags("1")
    assert tags["secateur.gate"] == "passed"
    assert kept(tags) == Verdict.from_json(verdict)
    written = json.loads((stand.root / "reports" / "gate.json").read_text())
    assert {name: written[name] for name in verdict} == verdict
    assert (written["model"], written["test_rows"], written["why"]) == ("tiny", 90, "the first")
    [event] = json.loads(_run(stand, "models", "history", "tiny", "--json")[1])
    assert (event["from"], event["to"], event["what"], event["why"]) == (None, "1", "promoted", "the first")
    assert _run(stand, "models", "promote") == (0, "version 1 is the champion already\n")


def test_a_time_out_is_no_verdict(stand: Stand) -> None:
    """A machine that is busy says nothing about a model: it can be asked for again, and nothing is remembered."""
    stand.configure(promote__smoke_timeout_s=0.05)
    before = stand.records.version_tags("1")
    with pytest.raises(NotJudged, match=r"not judged: no answer from a fresh process within 0.05 s, as on a busy"):
        promote(stand.project)
    assert stand.records.version_tags("1") == before
    assert stand.records.alias("champion") is None


def test_a_challenger_that_the_traffic_is_answered_differently_by_is_held(quick: Stand) -> None:
    assert promote(quick.project).promoted
    version = _better(quick, "beside")
    quick.configure(promote__shadow__max_disagreement=0.1)
    held = promote(quick.project)
    assert (held.promoted, held.lasts) == (False, False), "nobody has compared them yet: it is judged again"
    assert held.reason.startswith("shadow: 0 texts were asked of both; `secateur serve ")
    counted = Shadowed(name="tiny", champion="1", challenger=version, texts=1000, disagreed=90)
    live = Live(model="tiny", version="1", digest="", since="", written="", texts=1000, window=100,
                reference_rows=None, missing=None, shadow=counted)  # fmt: skip
    write_json(quick.root / LIVE, live.model_dump(mode="json"))
    held = promote(quick.project)
    assert (held.promoted, held.lasts) == (False, True)
    assert held.reason == (
        "shadow: 90 of 1000 texts of the traffic were answered differently, 0.1060 at most; "
        "the bound is above the limit 0.1000"
    )
    quick.configure(promote__shadow__max_disagreement=0.11)
    assert promote(quick.project).promoted


def test_a_time_out_in_the_move_takes_it_back(quick: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> list[Answer]:
        raise NotJudged("not judged: no answer")

    monkeypatch.setattr(secateur.registry.promotion, "answers_of_version", late)
    with pytest.raises(NotJudged):
        promote(quick.project)
    assert quick.records.alias("champion") is None
    assert [event.what for event in events(quick.records)] == ["restored"]


def _tampered(stand: Stand, name: str = "tampered") -> str:
    version = _better(stand, name)
    file = stand.stored(version, "model.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return version


WORSE: dict[str, tuple[Callable[[Stand], str], dict[str, Any], set[str], str]] = {
    "labels shuffled": (
        lambda stand: stand.register("shuffled", shuffled(stand)),
        {"promote__min_macro_f1": 0.0, "promote__classes__max_recall_drop": 1.0,
         "promote__classes__max_f1_drop": 1.0, "promote__slices__max_drop": 1.0,
         "promote__robustness__max_drop": 1.0},
        {"quality_drop", "accuracy_drop"},
        "more is lost than that",
    ),
    "one class broken": (
        lambda stand: stand.register("classless", without_class(stand, 1)),
        {"promote__min_macro_f1": 0.0, "promote__max_drop": 1.0,
         "promote__slices__max_drop": 1.0, "promote__robustness__max_drop": 1.0},
        {"classes"},
        "neutral: recall fell from 1.0000 to 0.0000, 0.05 is allowed",
    ),
    "too slow": (
        lambda stand: stand.register("slow", slow(stand, ffn=65_536)),
        {"promote__latency__max_ratio": 1.4, "promote__latency__repeats": 30},
        {"latency"},
        "of the champion's time is more than 1.4",
    ),
    "too large": (
        lambda stand: stand.register("large", slow(stand)),
        {"promote__size__max_ratio": 1.1},
        {"size"},
        "of the champion's size is more than 1.1",
    ),
    "tampered with": (_tampered, {}, {"digests"}, "model.safetensors differs from its digest"),
}  # fmt: skip


@pytest.mark.parametrize("what", WORSE)
def test_a_challenger_made_worse_is_held_for_its_own_reason(what: str, quick: Stand) -> None:
    make, settings, names, said = WORSE[what]
    quick.records.point("champion", "1")
    version = make(quick)
    quick.configure(**settings)
    code, printed = _run(quick, "models", "promote", "--json")
    verdict = Verdict.from_json(json.loads(printed))
    assert (code, verdict.promoted, verdict.version, verdict.champion_before) == (1, False, version, "1")
    assert {condition.name for condition in verdict.failed} == names
    assert said in verdict.reason
    assert quick.records.alias("champion") == "1"
    assert quick.records.version_tags(version)["secateur.gate"] == "held"
    assert events(quick.records) == []


@pytest.mark.usefixtures("forked_proofs")
def test_a_model_that_does_not_load_is_held(stand: Stand) -> None:
    stand.records.point("champion", "1")
    stand.register("broken", after_save=broken_config)
    verdict = promote(stand.project, force_reason="nobody can insist on this")
    assert [(c.name, c.passed) for c in verdict.conditions] == [("digests", True), ("reload", False)]
    assert verdict.reason.startswith("reload: does not load in a fresh process: ")
    assert (verdict.promoted, verdict.forced) == (False, False)
    assert stand.records.alias("champion") == "1"


@pytest.mark.usefixtures("forked_proofs")
def test_a_version_that_does_not_answer_by_mlflow_never_becomes_champion(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.records.point("champion", "1")
    use_script(monkeypatch, tmp_path / "script", instead="raise RuntimeError('the script is broken')")
    monkeypatch.setattr(fresh_process, "problem_of_script", lambda _: None)
    version = _better(stand, "smoke")
    monkeypatch.setattr(secateur.registry.judgement, "answers_of_folder", _as_here)
    verdict = promote(stand.project)
    assert [condition.name for condition in verdict.failed] == ["smoke"]
    assert "the script is broken; version 1 is the champion still" in verdict.reason
    assert stand.records.alias("champion") == "1"
    [event] = events(stand.records)
    assert (event.what, event.from_, event.to) == ("restored", "1", version)
    assert stand.records.version_tags(version)["secateur.gate"] == "held"


@pytest.mark.usefixtures("forked_proofs")
def test_a_version_from_before_04_is_promoted_by_its_own_script(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_script(monkeypatch, tmp_path / "script")
    version = _better(stand, "scripted")
    assert stand.stored(version, "registered_model.py").with_name("MLmodel").is_file()
    monkeypatch.setattr(secateur.registry.judgement, "answers_of_folder", _as_here)
    verdict = promote(stand.project)
    assert (verdict.promoted, verdict.version) == (True, version)


def _as_here(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
    return answers_here(folder, texts, num_threads=num_threads)


def test_a_reason_lifts_what_may_be_lifted(quick: Stand) -> None:
    quick.records.point("champion", "1")
    version = quick.register("forced", without_class(quick, 0))
    held = promote(quick.project)
    assert not held.promoted
    verdict = promote(quick.project, force_reason="the label goes away")
    assert (verdict.promoted, verdict.forced, verdict.version) == (True, True, version)
    assert verdict.reason.endswith("; forced: the label goes away")
    [event] = events(quick.records)
    assert (event.forced, event.why, event.from_, event.to) == (True, "the label goes away", "1", version)
    assert quick.records.version_tags(version)["secateur.gate"] == "forced"
    assert quick.records.alias("previous") == "1"


def test_a_tampered_champion_does_not_keep_its_place_for_ever(quick: Stand) -> None:
    old = _tampered(quick, "old_champion")
    quick.records.point("champion", old)
    new = _better(quick, "after")
    verdict = promote(quick.project)
    assert [condition.name for condition in verdict.failed] == ["champion"]
    assert "model.safetensors differs" in verdict.reason
    assert promote(quick.project, force_reason="the champion is damaged").promoted
    assert quick.records.alias("champion") == new


def _rebuild(stand: Stand, *, trained_on: int) -> None:
    """Leave only the first 60 test rows, as a new data version might, with a DVC cache that holds the old rows."""
    table = stand.root / "data" / "clean" / "test.parquet"
    rows = pq.read_table(table)
    digests = {path: stand.cache(rows.slice(0, count)) for path, count in (("train", trained_on), ("validation", 0))}
    stand.write_lock(**digests)
    pq.write_table(rows.slice(0, 60), table)


@pytest.mark.parametrize(("trained_on", "unseen"), [(20, 40), (57, 3)])
def test_rows_that_the_champion_was_trained_on_judge_nobody(quick: Stand, trained_on: int, unseen: int) -> None:
    table = quick.root / "data" / "clean" / "test.parquet"
    before = table.read_bytes()
    quick.configure(promote__max_drop="auto")  # as much as so few rows can show
    try:
        _rebuild(quick, trained_on=trained_on)
        old = _better(quick, f"old{trained_on}")
        quick.records.point("champion", old)
        quick.write_lock()
        _better(quick, f"new{trained_on}")
        verdict = promote(quick.project)
    finally:
        table.write_bytes(before)
        quick.write_lock()
    condition = next(condition for condition in verdict.conditions if condition.name == "test_rows")
    assert condition.values == {"rows": 60, "unseen": unseen}
    assert verdict.promoted == condition.passed == (unseen >= 5)
    floor = next(condition for condition in verdict.conditions if condition.name == "quality_floor")
    assert f"on {unseen if condition.passed else 60} test rows" in floor.reason


def test_a_version_of_unknown_data_is_held(quick: Stand) -> None:
    table = quick.root / "data" / "clean" / "test.parquet"
    before = table.read_bytes()
    pq.write_table(pq.read_table(table).slice(0, 80), table)
    try:
        verdict = promote(quick.project)
    finally:
        table.write_bytes(before)
    assert [condition.name for condition in verdict.failed] == ["test_rows"]
    assert "version 1 may have been trained on these rows: no dvc.lock with its data was stored" in verdict.reason


def test_a_rollback_goes_back_and_is_written_down(quick: Stand) -> None:
    first = promote(quick.project).version
    second = _better(quick, "second")
    assert promote(quick.project).promoted
    code, printed = _run(quick, "models", "rollback", "--reason", "complaints")
    assert (code, printed) == (0, f"version {first} is the champion, it was {second} (complaints)\n")
    assert (quick.records.alias("champion"), quick.records.alias("previous")) == (first, None)
    assert [event.what for event in events(quick.records)] == ["promoted", "promoted", "rolled_back"]
    with pytest.raises(
        ModelError, match=f"tiny has no champion before version {first}; `secateur models history tiny`"
    ):
        rollback(quick.project)
    table = _run(quick, "models", "history")[1]
    assert "rolled back" in table
    assert "complaints" in table


def test_a_kill_in_the_middle_is_noticed_by_the_next_command(stand: Stand) -> None:
    stand.records.point("champion", "1")
    version = _better(stand, "killed")
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from secateur.registry.mlflow_records import Records\n"
        "from secateur.registry.mlflow_store import ModelRegistry\n"
        "from secateur.workflow.project import Project; from secateur.registry.transition import move_champion\n"
        "records = Records(ModelRegistry(Project(Path(sys.argv[1]))), 'tiny')\n"
        "move_champion(records, sys.argv[2], from_='1', what='promoted', why='', forced=False,\n"
        "              prove=lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    arguments = [sys.executable, "-c", script, str(stand.root), version]
    finished = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False)
    assert finished.returncode == -signal.SIGKILL
    assert stand.records.alias("champion") == "1"
    [event] = json.loads(_run(stand, "models", "history", "tiny", "--json")[1])
    assert (event["what"], event["from"], event["to"]) == ("restored", "1", version)
    assert event["why"] == "its process ended before the new champion had answered"
    assert stand.records.alias("champion") == "1"


class _Listener(BaseHTTPRequestHandler):
    got: list[tuple[Any, bytes]]
    answer = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.headers, body))
        self.send_response(self.answer)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[type[_Listener]]:
    handler = type("Handler", (_Listener,), {"got": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    handler.address = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    server.shutdown()


def test_a_promotion_is_told_and_signed(quick: Stand, listener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_WEBHOOK_SECRET", "a secret")
    quick.configure(promote__webhook=listener.address)
    promote(quick.project, why="told")
    [(headers, body)] = listener.got
    told = json.loads(body)
    assert (told["event"], told["model"], told["to"], told["why"]) == ("secateur.promoted", "tiny", "1", "told")
    assert headers["X-Secateur-Signature"] == signature("a secret", headers["X-Secateur-Timestamp"], body)


def test_a_hold_is_told_once(quick: Stand, listener: Any) -> None:
    quick.configure(promote__webhook=listener.address, promote__size__max_bytes=10)
    assert not promote(quick.project).promoted
    assert not promote(quick.project).promoted
    [(_, body)] = listener.got
    told = json.loads(body)
    assert (told["event"], told["model"], told["version"], told["failed"]) == ("secateur.held", "tiny", "1", ["size"])
    assert "10" in told["why"]


@pytest.mark.parametrize("answer", [500, 302, None])
def test_a_webhook_that_fails_undoes_nothing(
    quick: Stand, listener: Any, answer: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    listener.answer = answer
    address = "http://127.0.0.1:9/" if answer is None else listener.address
    quick.configure(promote__webhook=address, promote__webhook_backoff_s=0.0)
    assert promote(quick.project).promoted
    assert quick.records.alias("champion") == "1"
    said = "was not reached" if answer is None else f"answered {answer}"
    assert said in caplog.text
    assert "what was done stays done" in caplog.text
    assert "hook" not in caplog.text.replace("webhook", "")  # the path of an address may be a secret
    assert len(listener.got) == (0 if answer is None else 1 if answer == 302 else 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["promote", "models:/nobody@challenger"], ModelError, "no registered model nobody; registered are: tiny"),
        (["promote", "models:/tiny@best"], ModelError, "model tiny has no such version or alias; found "),
        (["promote", "--force"], ConfigError, "--force needs a reason that the history can keep"),
        (["promote", "--force", "--reason", " "], ConfigError, "--force needs a reason"),
        (["rollback"], ModelError, "tiny has no champion yet; `secateur models promote` makes one"),
        (["rollback", "models:/tiny@champion"], ConfigError, "a rollback takes the model's name"),
        (["rollback", "nobody"], ModelError, "no registered model nobody"),
        (["history", "nobody"], ModelError, "no registered model nobody"),
        (["verify", "models:/tiny@champion"], ModelError, "tiny has no champion yet"),
        (["verify", "models:/tiny/99"], ModelError, "model tiny has no such version or alias"),
        (["compare", "models:/tiny/1", "models:/tiny/99"], ModelError, "model tiny has no such version or alias"),
        (["lineage", "models:/nobody/1"], ModelError, "no registered model nobody"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(stand: Stand, arguments: list[str], error: type[Exception], message: str) -> None:
    with chdir(stand.root), pytest.raises(error) as caught:
        cli.main(["models", *arguments], standalone_mode=False)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]


def test_without_test_rows_nobody_is_judged(stand: Stand) -> None:
    table = stand.root / "data" / "clean" / "test.parquet"
    table.rename(table.with_suffix(".away"))
    try:
        with pytest.raises(ProjectError, match=r"no test rows to judge on: .*test.parquet is missing; `secateur run`"):
            promote(stand.project)
    finally:
        table.with_suffix(".away").rename(table)


@pytest.mark.parametrize("address", ["http://example.com/", "ftp://127.0.0.1/", "https://", "nowhere"])
def test_only_safe_webhooks_are_accepted(stand: Stand, address: str) -> None:
    stand.configure(promote__webhook=address)
    with pytest.raises(ConfigError, match=r"promote\.webhook: must be an https address, or http on 127\.0\.0\.1"):
        promote(stand.project)

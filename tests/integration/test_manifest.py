"""Every tag and every file of a version is changed, one at a time, and each change is noticed by its name."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner, Result

from secateur.cli import cli
from secateur.errors import CheckFailed
from secateur.gate.condition import Condition
from secateur.registry import manifest_entries
from secateur.registry.as_registered import require_as_registered, tell
from secateur.registry.history import Event, events, write
from secateur.registry.history_check import history_problems
from secateur.registry.manifest import PATIENCE, manifest_of
from secateur.registry.manifest_entries import begin, extend
from secateur.registry.mlflow_records import Records
from secateur.registry.model_source import resolve
from secateur.registry.tags import ARTIFACTS, ENTRY, GATE, HISTORY, LOADED, MANIFEST
from secateur.registry.verdict import Verdict, keep
from secateur.verification.keys import verify_key
from tests.integration.registry_stand import Stand

ONE = "models:/tiny/1"
BY_COMMAND = (MANIFEST, ARTIFACTS, GATE, "secateur.commit")
KEY = "hmac:a long enough secret"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Version 1 was judged, signed and promoted, version 2 as well, and then 1 again."""
    stand = Stand(tmp_path_factory.mktemp("manifest") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_SIGNING_KEY", KEY)
        for number, name in enumerate(("baseline", "r1"), 1):
            assert stand.register(name) == str(number)
            passed = (Condition("digests", "all", "all", True, "every file has its digest"),)
            keep(stand.records, Verdict(True, False, str(number), None, passed, "all 1 conditions hold"))
            with chdir(stand.root):
                assert CliRunner().invoke(cli, ["models", "sign", f"models:/tiny/{number}"]).exit_code == 0
    moves = (("promoted", None, "1"), ("promoted", "1", "2"), ("rolled_back", "2", "1"))
    for number, (what, before, to) in enumerate(moves, 1):
        write(stand.records, Event(number, what, before, to, "me", "2026-01-01T00:00:00+00:00", "why", False))  # type: ignore[arg-type]
    stand.records.point("champion", "1")
    return stand


@pytest.fixture
def stand(made: Stand) -> Iterator[Stand]:
    """As it was made; tags are put back afterwards."""
    kept = {version: dict(made.records.version_tags(version)) for version in ("1", "2")}
    of_model = dict(made.records.tags())
    yield made
    for version, tags in kept.items():
        _put_back(made.records, version, tags)
    for name in {*made.records.tags()} - {*of_model}:
        made.records.tag(name, None)
    for name, text in of_model.items():
        made.records.tag(name, text)
    made.records.point("champion", "1")
    made.records.point("previous", None)


def _put_back(records: Records, version: str, tags: dict[str, str]) -> None:
    found = records.version_tags(version)
    for name in {*found} - {*tags}:
        records._client.delete_model_version_tag("tiny", version, name)
    for name, text in tags.items():
        if found.get(name) != text:
            records.tag_version(version, name, text)


def _models(stand: Stand, *arguments: str) -> Result:
    with chdir(stand.root):
        return CliRunner().invoke(cli, ["models", *arguments])


def _verified(stand: Stand, reference: str = ONE) -> str:
    """Return what ``models verify`` refuses a version for; empty when it does not."""
    result = _models(stand, "verify", reference)
    if result.exception is None:
        return ""
    assert isinstance(result.exception, CheckFailed)
    return str(result.exception)


def test_what_nobody_changed_is_in_order(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    assert _verified(stand) == _verified(stand, "models:/tiny/2") == ""
    printed = _models(stand, "verify", ONE).stdout
    assert "files have their digests; manifest " in printed
    assert "and 4 entries; signed, but no key is set to check it" in printed
    with caplog.at_level(logging.WARNING):
        for arguments in (["list"], ["show", ONE], ["history", "tiny"], ["lineage", ONE]):
            assert _models(stand, *arguments).exit_code == 0
    assert caplog.text == ""


def test_every_tag_that_is_changed_taken_away_or_added_is_noticed(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers that only tell go on; whoever opens files refuses where a tag says which."""
    records = stand.records
    tags = dict(records.version_tags("1"))
    assert len(tags) > 15
    last = max(name for name in tags if name.startswith(ENTRY))
    for name, text in tags.items():
        said = name.rpartition(".")[0] if name.startswith(ENTRY) else name
        for changed in (text[:-1] + ("x" if text[-1:] != "x" else "y"), None):
            if changed is None:
                records._client.delete_model_version_tag("tiny", "1", name)
            else:
                records.tag_version("1", name, changed)
            caplog.clear()
            entry = stand.registry.version(ONE)
            if name == last and changed is None:
                # Nothing followed it here, and a rollback changes no tag: the history knows of it.
                assert "is not in the manifest of version 1" in _verified(stand)
                records.tag_version("1", name, text)
                continue
            if name == MANIFEST or name.startswith(ENTRY) or name in LOADED:
                with pytest.raises(CheckFailed, match=said.replace(".", r"\.")):
                    require_as_registered(entry, all_tags=False)
                tell(entry)
            else:
                require_as_registered(entry, all_tags=False)
            assert said in caplog.text, (name, changed)
            with pytest.raises(CheckFailed, match=said.replace(".", r"\.")):
                require_as_registered(entry, all_tags=True)
            if name in BY_COMMAND or name.startswith(f"{ENTRY}000001"):
                assert said in _verified(stand)
                caplog.clear()
                assert _models(stand, "show", ONE, "--json").exit_code == 0
                assert said in caplog.text
            records.tag_version("1", name, text)
    entry = stand.registry.version(ONE)
    records.tag_version("1", "secateur.rolled_back.r7", "{}")
    assert "secateur.rolled_back.r7 was added by nobody of ours" in _verified(stand)
    assert stand.registry.version(ONE).tags.ours.keys() - entry.tags.keys() == {"secateur.rolled_back.r7"}
    records.tag_version("1", "team.note", "theirs")
    records._client.delete_model_version_tag("tiny", "1", "secateur.rolled_back.r7")
    assert _verified(stand) == ""


def test_every_file_that_is_changed_is_noticed(stand: Stand) -> None:
    root = stand.stored("1", "MLmodel").parent
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and file.name != "registered_model_meta"]
    assert len(files) == 9
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert file.name in _verified(stand), file
        file.write_bytes(before)
    assert _verified(stand) == ""


def test_what_lies_with_the_run_is_covered_too(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    run = stand.registry.version(ONE).run
    assert run is not None
    client = stand.records._client
    parent = client.get_run(run).data.tags["mlflow.parentRunId"]
    [lock] = stand.root.rglob(f"{parent}/artifacts/dvc.lock")
    text = lock.read_text()
    lock.write_text(text.replace("rows.csv", "others.csv"))
    assert "the dvc.lock that was kept with its build was changed" in _verified(stand)
    assert "others.csv" in _models(stand, "lineage", ONE).stdout
    assert "the dvc.lock that was kept with its build was changed" in caplog.text
    assert stand.records.stored_with_build("1", "dvc.lock") is None
    lock.unlink()
    assert "the dvc.lock that was kept with its build is gone" in _verified(stand)
    lock.write_text(text)
    client.log_metric(run, "macro_f1", 0.9, step=1)
    assert "its metrics are not those that it was registered with" in _verified(stand)
    caplog.clear()
    assert _models(stand, "show", ONE).exit_code == 0
    assert "its metrics are not those" in caplog.text
    client.log_metric(run, "macro_f1", 0.5, step=2)
    assert _verified(stand) == ""


def _event(number: int, **changes: Any) -> Callable[[Records], None]:
    def change(records: Records) -> None:
        [name] = [name for name in records.tags() if name.startswith(f"{HISTORY}{number:06d}")]
        records.tag(name, json.dumps({**json.loads(records.tags()[name]), **changes}) if changes else None)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *((_event(number, why="another"), f"{HISTORY}{number:06d}") for number in (1, 2, 3)),
        *((_event(number), f"{HISTORY}{number:06d}") for number in (1, 2, 3)),
        (lambda records: records.point("champion", "2"), "alias champion points at version 2, the history says 1"),
        (lambda records: records.point("champion", None), "alias champion is gone, the history says 1"),
        (lambda records: records.point("previous", "2"), "alias previous points at version 2, the history says none"),
    ],
)
def test_a_history_that_was_changed_is_told_and_read_on(
    stand: Stand, caplog: pytest.LogCaptureFixture, change: Callable[[Records], None], said: str
) -> None:
    assert history_problems(stand.records) == []
    change(stand.records)
    for arguments in (["history", "tiny"], ["lineage", ONE]):
        caplog.clear()
        assert _models(stand, *arguments).exit_code == 0
        assert said in caplog.text, arguments


def test_a_version_from_before_there_were_manifests_works_and_says_so(stand: Stand) -> None:
    records, run = stand.records, stand.registry.version("models:/tiny/2").run
    for name in records.version_tags("2"):
        if name.startswith(MANIFEST):
            records._client.delete_model_version_tag("tiny", "2", name)
    assert "the tag secateur.manifest is gone: its run has one" in _verified(stand, "models:/tiny/2")
    digest = records._client.get_run(run).data.tags[MANIFEST]
    records._client.delete_tag(run, MANIFEST)
    try:
        assert "; no manifest; " in _models(stand, "verify", "models:/tiny/2").stdout
        assert "none: it was registered before there were any" in _models(stand, "show", "models:/tiny/2").stdout
        resolve(stand.project, "models:/tiny/2", registry=records.registry).close()
        extend(records, "2", "judged", {"secateur.gate": "held"})
        assert manifest_of(records.version_tags("2")) is None
    finally:
        records._client.set_tag(run, MANIFEST, digest)


@pytest.mark.parametrize("writes", range(5))
def test_a_kill_at_any_write_leaves_the_old_tags_or_the_new_ones(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    class Killed(BaseException):
        pass

    records, done = stand.records, iter(range(writes))
    original = records.tag_version

    def tag_version(*arguments: str) -> None:
        if next(done, None) is None:
            raise Killed
        original(*arguments)

    held = Verdict(False, False, "1", None, (Condition("size", "1", "2", False, "too large"),), "size: too large")
    monkeypatch.setattr(records, "tag_version", tag_version)
    if writes < 4:
        with pytest.raises(Killed):
            keep(records, held)
    else:
        keep(records, held)
    assert _verified(stand) == ""
    printed = _models(stand, "verify", ONE).stdout
    assert ("is being written, or was not finished" in printed) == (0 < writes < 4)
    monkeypatch.setattr(records, "tag_version", original)
    keep(records, held)
    assert _verified(stand) == ""
    assert "is being written" not in _models(stand, "verify", ONE).stdout
    assert records.version_tags("1")["secateur.gate"] == "held"


def test_two_who_write_at_once_both_write(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one reads the same end and writes all of its own between two writes of ours, wherever that falls."""
    records, tags = stand.records, ("secateur.rolled_back.r8", "secateur.rolled_back.r9", GATE)
    original, other = records.tag_version, Records(stand.registry, "tiny")
    for at in range(4):
        calls = count()

        def tag_version(version: str, key: str, value: str, *, at: int = at, calls: Iterator[int] = calls) -> None:
            if next(calls) == at:
                extend(other, "1", "told more", {tags[1]: str(at), GATE: f"theirs {at}"})
            original(version, key, value)

        monkeypatch.setattr(records, "tag_version", tag_version)
        before = manifest_of(records.version_tags("1"))
        extend(records, "1", "told more", {tags[0]: str(at), GATE: f"ours {at}"})
        after = manifest_of(records.version_tags("1"))
        assert before is not None
        assert after is not None
        assert len(after.entries) == len(before.entries) + 2
        assert _verified(stand) == ""
        assert {records.version_tags("1")[tag] for tag in tags[:2]} == {str(at)}
        monkeypatch.setattr(records, "tag_version", original)
    # What either of them has written is known; a third text is not.
    records.tag_version("1", GATE, "nobody's")
    assert f"the tag {GATE} was changed" in _verified(stand)


def test_who_was_stopped_is_ended_by_a_later_entry(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    records = stand.records
    begin(records, "1", "told more", {GATE: "never written"})
    extend(records, "1", "told more", {"secateur.rolled_back.r9": "{}"})
    assert "is being written, or was not finished" in _models(stand, "verify", ONE).stdout
    late = (datetime.now(UTC) + 2 * PATIENCE).isoformat(timespec="seconds")
    monkeypatch.setattr(manifest_entries, "now", lambda: late)
    extend(records, "1", "told more", {"secateur.rolled_back.r9": "[]"})
    assert "is being written" not in _models(stand, "verify", ONE).stdout
    records.tag_version("1", GATE, "never written")
    assert f"the tag {GATE} was changed" in _verified(stand)


def test_entries_and_events_are_signed_where_there_is_a_key(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_SIGNING_KEY", KEY)
    write(stand.records, Event(4, "promoted", "1", "2", "me", "2026-01-01T00:00:00+00:00", "why", True))
    stand.records.point("champion", "2")
    stand.records.point("previous", "1")
    again = events(stand.records)[-1]
    assert again.key is not None
    assert again.signature is not None
    assert history_problems(stand.records) == []
    printed = _models(stand, "verify", "models:/tiny/2").stdout
    assert "and 4 entries, 3 of them signed with this key; the signature fits" in printed
    # Whoever can write everywhere, and has no key, makes all of it fit but the signatures.
    manifest = manifest_of(stand.records.version_tags("2"))
    assert manifest is not None
    last, forged = manifest.entries[-1], replace(manifest.entries[-1], who="nobody")
    stand.records._client.delete_model_version_tag("tiny", "2", last.tag)
    stand.records.tag_version("2", forged.tag, forged.text())
    assert f"{forged.tag} has a signature of something else" in _verified(stand, "models:/tiny/2")
    text = json.dumps({**json.loads(again.text), "why": "another"})
    stand.records.tag(again.tag, text)
    said = [problem.said for problem in history_problems(stand.records, key=verify_key())]
    assert f"the tag {again.tag} has a signature of something else" in said

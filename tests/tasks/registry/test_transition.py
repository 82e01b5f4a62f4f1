"""The alias under its journal: a kill after any step leaves a proven champion, and the next command tidies up."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from secateur.errors import CheckFailed, ProjectError
from secateur.registry import transition
from secateur.registry.history import Event, champions, events
from secateur.registry.history_check import history_problems
from secateur.registry.manifest import manifest_of, problems, written_for
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.tags import MANIFEST, VERDICT, Aliases, VersionTags
from secateur.registry.transition import move_champion, recover
from secateur.registry.verdict import Verdict, keep, kept
from secateur.registry.who import who_asks


class Killed(BaseException):
    """Stands in for kill -9: nothing after it runs."""


class Memory:
    """A registry in memory that can be killed after so many writes."""

    name = "tiny"

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.model_tags: dict[str, str] = {}
        self.tags_of: dict[str, dict[str, str]] = {str(number): {} for number in range(1, 6)}
        self.writes_left: int | None = None

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Killed
            self.writes_left -= 1

    def alias(self, alias: str) -> str | None:
        return self.aliases.get(alias)

    def point(self, alias: str, version: str | None) -> None:
        self._write()
        self.aliases.pop(alias, None)
        if version is not None:
            self.aliases[alias] = version

    def tags(self) -> dict[str, str]:
        return dict(self.model_tags)

    def tag(self, key: str, value: str | None) -> None:
        self._write()
        self.model_tags.pop(key, None)
        if value is not None:
            self.model_tags[key] = value

    def version_tags(self, version: str) -> VersionTags:
        return VersionTags(dict(self.tags_of[version]))

    def tag_version(self, version: str, key: str, value: str) -> None:
        self._write()
        self.tags_of[version][key] = value


def _move(records: Any, to: str, *, prove: Callable[[], None] = lambda: None, **options: Any) -> Event:
    values: dict[str, Any] = {"what": "promoted", "why": "better", "forced": False, "from_": records.alias("champion")}
    return move_champion(records, to, prove=prove, **{**values, **options})


def test_a_promotion_moves_three_things_and_writes_history() -> None:
    records: Any = Memory()
    _move(records, "1")
    _move(records, "3", why="faster", forced=True)
    assert records.aliases == {"champion": "3", "previous": "1"}
    first, second = events(records)
    assert (first.from_, first.to, first.what, first.forced) == (None, "1", "promoted", False)
    assert (second.from_, second.to, second.why, second.forced, second.number) == ("1", "3", "faster", True, 2)
    assert second.who
    assert second.when.endswith("+00:00")


@pytest.mark.parametrize("writes", range(9))
def test_a_kill_after_any_write_leaves_a_proven_champion(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    records: Any = Memory()
    _move(records, "1")
    keep(records, Verdict(False, False, "2", "1", (), "all hold"))
    proven: list[bool] = []
    records.writes_left = writes
    # In a real kill not even `except BaseException` runs.
    monkeypatch.setattr(transition, "_take_back", _nothing)
    try:
        _move(records, "2", prove=lambda: proven.append(True))
        killed = False
    except Killed:
        killed = True
    monkeypatch.undo()
    assert records.alias("champion") == "1" or proven, "nobody reads a version that has not answered"
    records.writes_left = None
    assert killed == (writes < 8)
    said_proven = json.loads(records.model_tags.get("secateur.transition", '{"state": ""}'))["state"] == "proven"
    recover(records)
    assert recover(records) is None
    expected = "2" if said_proven or not killed else "1"
    assert records.alias("champion") == expected
    assert records.alias("previous") == ("1" if expected == "2" else None)
    assert [event.number for event in events(records)] == list(range(1, len(events(records)) + 1))
    assert champions(events(records))[-1] == expected
    assert Verdict.from_json(json.loads(records.tags_of["2"][VERDICT])).promoted == (expected == "2")


class _Asked:
    """What looks at a registry in memory."""

    name = "tiny"

    def __init__(self, memory: Memory) -> None:
        self.tags, self.registry = memory.tags, self
        self._memory = memory

    def aliases(self) -> Aliases:
        return Aliases(dict(self._memory.aliases))

    def versions(self, _: str) -> list[RegisteredVersion]:
        made = [(number, self._memory.version_tags(number)) for number in self._memory.tags_of]
        return [RegisteredVersion("tiny", number, (), 0, f"run{number}", {}, tags) for number, tags in made]


@pytest.mark.parametrize("what", ["promoted", "rolled_back"])
@pytest.mark.parametrize("writes", range(13))
def test_a_kill_after_any_write_leaves_manifests_and_history_that_fit(
    writes: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: Any = Memory()
    for number in ("1", "2", "3"):
        tags = {"secateur.key": number}
        records.tags_of[number] = tags | {
            MANIFEST: written_for(model="tiny", run=f"run{number}", tags=tags, metrics={}, parameters={}, kept={})
        }
        keep(records, Verdict(False, False, number, None, (), "all 0 conditions hold"))
    _move(records, "1")
    _move(records, "2")
    to = "1" if what == "rolled_back" else "3"
    records.writes_left = writes
    with monkeypatch.context() as patch:
        patch.setattr(transition, "_take_back", _nothing)  # a kill runs no handler
        try:
            _move(records, to, what=what)
            killed = False
        except Killed:
            killed = True
    assert killed == (writes < (12 if what == "promoted" else 8))
    records.writes_left = None
    asked: Any = _Asked(records)
    assert [one for entry in asked.versions("tiny") for one in problems(entry.tags, model="tiny", run=entry.run)] == []
    recover(records)
    assert history_problems(asked) == []
    assert [one for entry in asked.versions("tiny") for one in problems(entry.tags, model="tiny", run=entry.run)] == []
    last = events(records)[-1]
    manifest = manifest_of(records.version_tags(last.to))
    assert manifest is not None
    assert last.number in {entry.event[0] for entry in manifest.entries if entry.event is not None}


def test_a_move_that_version_0_3_0_left_unproven_is_taken_back() -> None:
    records: Any = Memory()
    _move(records, "1")

    def kept_alias_moved() -> None:
        records.point("champion", "2")
        raise CheckFailed("no answer")

    with pytest.raises(CheckFailed):
        _move(records, "2", prove=kept_alias_moved)
    assert records.alias("champion") == "1"


def _nothing(*_: Any, **__: Any) -> None:
    raise Killed


def test_a_version_whose_proof_fails_was_never_the_champion() -> None:
    records: Any = Memory()
    _move(records, "1")

    def prove() -> None:
        assert records.alias("champion") == "1"
        raise CheckFailed("no answer")

    with pytest.raises(CheckFailed, match="no answer"):
        _move(records, "2", prove=prove)
    assert records.aliases == {"champion": "1"}
    assert [(e.what, e.to, e.why) for e in events(records)][1:] == [
        ("restored", "2", "the new champion did not answer: no answer")
    ]
    assert "secateur.transition" not in records.model_tags


def test_the_first_champion_that_fails_leaves_none() -> None:
    records: Any = Memory()
    with pytest.raises(KeyboardInterrupt):
        _move(records, "1", prove=_interrupt)
    assert records.aliases == {}


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_rollbacks_go_back_one_by_one() -> None:
    records: Any = Memory()
    for number in ("1", "2", "3"):
        _move(records, number)
    assert records.alias("previous") == "2"
    _move(records, "2", what="rolled_back")
    assert (records.alias("champion"), records.alias("previous")) == ("2", "1")
    _move(records, "1", what="rolled_back")
    assert (records.alias("champion"), records.alias("previous")) == ("1", None)
    _move(records, "3")
    assert (records.alias("champion"), records.alias("previous")) == ("3", "1")


def test_a_champion_made_by_other_means_can_be_gone_back_to() -> None:
    records: Any = Memory()
    records.point("champion", "4")
    _move(records, "5")
    assert records.alias("previous") == "4"


@pytest.mark.parametrize("writes", [1, 2])
def test_a_champion_chosen_by_hand_meanwhile_is_left_alone(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    records: Any = Memory()
    _move(records, "1")
    records.writes_left = writes
    monkeypatch.setattr(transition, "_take_back", _nothing)
    with pytest.raises(Killed):
        _move(records, "2")
    monkeypatch.undo()
    records.writes_left = None
    records.point("champion", "3")
    assert recover(records).what == "restored"  # type: ignore[union-attr]
    assert records.alias("champion") == "3"


def test_a_comparison_with_another_champion_does_not_count() -> None:
    records: Any = Memory()
    _move(records, "1")
    with pytest.raises(ProjectError, match="is version 1 by now, the challenger was compared with none; ask again"):
        _move(records, "2", from_=None)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_move_that_is_under_way_is_not_touched(elsewhere: bool) -> None:
    records: Any = Memory()

    def prove() -> None:
        kept = json.loads(records.model_tags["secateur.transition"])
        parent = os.getppid()
        kept |= {"host": "another"} if elsewhere else {"process": transition._process(parent)}
        records.tag("secateur.transition", json.dumps(kept))
        assert recover(records) is None
        assert records.alias("champion") is None
        with pytest.raises(ProjectError, match="is moving the champion of tiny to version 1"):
            _move(records, "2")
        # A machine that cannot be asked is waited for, not for ever.
        for when in ("2020-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"):
            records.tag("secateur.transition", json.dumps(kept | {"host": "another", "when": when}))
            assert recover(records).what == "restored"  # type: ignore[union-attr]

    with pytest.raises(ProjectError, match="somebody else moves the champion"):
        _move(records, "1", prove=prove)
    assert records.aliases == {}


FOREIGN = [
    "",
    "{",
    "[]",
    "3",
    "null",
    "[" * 2500,
    '{"from": "1"}',
    '{"number": "7", "what": "promoted", "from": null, "to": "1", "who": "", "when": "", "why": "", "forced": false}',
    '{"number": 7, "what": "deployed", "from": null, "to": "1", "who": "", "when": "", "why": "", "forced": false}',
    '{"number": 7, "what": "promoted", "from": 3, "to": {}, "who": "", "when": "", "why": "", "forced": false}',
]


@pytest.mark.parametrize("text", FOREIGN)
def test_tags_of_another_tool_are_told_and_left_out(text: str, caplog: pytest.LogCaptureFixture) -> None:
    records: Any = Memory()
    records.model_tags |= {"secateur.history.000007": text, "secateur.transition": text, "secateur.history.x": text}
    records.tags_of["1"][VERDICT] = text
    _move(records, "1")
    _move(records, "2")
    _move(records, "1", what="rolled_back")
    assert [event.number for event in events(records)] == [8, 9, 10]
    assert records.model_tags["secateur.history.000007"] == text
    assert champions(events(records)) == ["1"]
    assert kept(records.version_tags("1")) is None
    for tag in ("secateur.history.000007", "secateur.transition", "secateur.verdict"):
        assert tag in caplog.text


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4711"), OSError("No username set")])
def test_a_user_whom_nobody_named_has_a_number(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """As in a container that runs under any number."""

    def nobody() -> str:
        raise error

    monkeypatch.delenv("SECATEUR_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    assert who_asks().partition("@")[0] == str(os.getuid())

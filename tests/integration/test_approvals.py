"""Approvals: who has to sign before a version becomes the champion, and what does not count."""

import base64
import json
import multiprocessing
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import secateur.registry.judgement
import secateur.registry.promotion
from flows.promote import promote
from secateur.cli import cli
from secateur.errors import CheckFailed, ConfigError, SecateurError
from secateur.files import to_json
from secateur.gate.condition import Condition
from secateur.registry import manifest_entries
from secateur.registry.approvals import approvals_of, still_waits, trusted_keys
from secateur.registry.fresh_process import Answer
from secateur.registry.history import events
from secateur.registry.history_check import history_problems
from secateur.registry.measurement import answers_here
from secateur.registry.model_source import Resolved
from secateur.registry.tags import APPROVAL
from secateur.registry.verdict import kept
from secateur.workflow.params import read_config
from tests.integration.registry_stand import Stand


def ed25519() -> tuple[str, str]:
    """Return a private and a public key."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    private, shown = (base64.b64encode(raw).decode() for raw in (key.private_bytes_raw(), public))
    return f"ed25519:{private}", f"ed25519:{shown}"


def ecdsa() -> tuple[str, str]:
    """Return a private and a public key."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"ecdsa:{base64.b64encode(private).decode()}", f"ecdsa:{base64.b64encode(public).decode()}"


ANNA, BERT, CARL = ed25519(), ecdsa(), ed25519()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """A registry with versions 1 and 2."""
    stand = Stand(tmp_path_factory.mktemp("approvals") / "project")
    assert [stand.register(name) for name in ("baseline", "r1")] == ["1", "2"]
    return stand


@pytest.fixture
def stand(made: Stand, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Version 1 is to be approved by two of three, and nobody has; judging costs nothing here."""

    def conditions(*_: Any, **__: Any) -> list[Condition]:
        return [Condition("quality_floor", "0.8", "1.0", True, "good enough")]

    def here(folder: Path, texts: Sequence[str], *, num_threads: int, timeout_s: float) -> list[Answer]:
        return answers_here(folder, texts, num_threads=num_threads)

    def version(resolved: Resolved, texts: Sequence[str], **_: Any) -> list[Answer]:
        return answers_here(resolved.folder, texts, num_threads=1)

    monkeypatch.setattr(secateur.registry.judgement, "answers_of_folder", here)
    monkeypatch.setattr(secateur.registry.promotion, "answers_of_version", version)
    monkeypatch.setattr(secateur.registry.judgement, "_worth", conditions)
    records, kept_tags = made.records, dict(made.records.version_tags("1"))
    records.point("challenger", "1")
    made.configure(promote__approvals=2, promote__approvers=[ANNA[1], BERT[1], CARL[1]])
    yield made
    for name in records.version_tags("1"):
        if name not in kept_tags:
            records._client.delete_model_version_tag("tiny", "1", name)
    for name, text in kept_tags.items():
        records.tag_version("1", name, text)
    for name in records.tags():
        records.tag(name, None)
    for alias in ("champion", "previous"):
        records.point(alias, None)


def _run(stand: Stand, *arguments: str, key: str | None = None, who: str = "") -> tuple[int, str]:
    with chdir(stand.root), pytest.MonkeyPatch.context() as patch:
        for name, value in (("SECATEUR_SIGNING_KEY", key), ("SECATEUR_USER", who)):
            patch.setenv(name, value) if value else patch.delenv(name, raising=False)
        result = CliRunner().invoke(cli, ["models", *arguments])
    if isinstance(result.exception, SecateurError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def _approve(stand: Stand, who: str, key: tuple[str, str]) -> None:
    code, printed = _run(stand, "approve", "models:/tiny/1", "--reason", "looked", key=key[0], who=who)
    assert (code, printed.startswith(f"models:/tiny/1 is approved by {who} with ")) == (0, True)


def test_a_promotion_waits_for_two_keys(stand: Stand) -> None:
    code, printed = _run(stand, "promote")
    assert code == 1
    assert "version 1 waits for 2 of 2 approvals; `secateur models approve models:/tiny/1` gives one" in printed
    _approve(stand, "anna", ANNA)
    _approve(stand, "anna", ANNA)  # the same key counts once
    code, printed = _run(stand, "promote")
    assert code == 1
    assert "version 1 waits for 1 of 2 approvals; approved by anna (" in printed
    assert (stand.records.alias("champion"), stand.records.alias("challenger")) == (None, "1")
    assert stand.records.version_tags("1")["secateur.gate"] == "waits"
    verdict = kept(stand.records.version_tags("1"))
    assert verdict is not None
    assert (verdict.waits, verdict.lasts) == (True, False)
    section = read_config(stand.project).promote
    assert str(still_waits(stand.registry.version("models:/tiny/1"), section, champion=None)).startswith("waits for 1")
    assert still_waits(stand.registry.version("models:/tiny/1"), section, champion="7") is None
    _approve(stand, "bert", BERT)
    assert still_waits(stand.registry.version("models:/tiny/1"), section, champion=None) is None
    code, printed = _run(stand, "promote")
    assert code == 0, printed
    assert stand.records.alias("champion") == "1"
    found = events(stand.records)
    assert [(event.what, event.who) for event in found[:3]] == [
        ("approved", "anna"), ("approved", "anna"), ("approved", "bert"),
    ]  # fmt: skip
    keys = {tag.removeprefix(APPROVAL) for tag in stand.records.version_tags("1") if tag.startswith(APPROVAL)}
    assert set(str(found[3].approvals).split(", ")) == keys
    assert history_problems(stand.records) == []
    assert _run(stand, "verify", "models:/tiny/1")[0] == 0
    assert "looked" in _run(stand, "history", "tiny")[1]
    assert "anna" in _run(stand, "show", "models:/tiny/1")[1]
    # Who takes one away afterwards is noticed.
    stand.records._client.delete_model_version_tag("tiny", "1", f"{APPROVAL}{sorted(keys)[0]}")
    assert f"the tag {APPROVAL}{sorted(keys)[0]} is gone" in _run(stand, "verify", "models:/tiny/1")[1]


def test_two_who_approve_at_the_same_moment_both_have_approved(stand: Stand, tmp_path: Path) -> None:
    """Two processes read before either of them writes, and write at once."""
    forked = multiprocessing.get_context("fork")
    both = forked.Barrier(2)

    def approve(who: str, key: tuple[str, str]) -> None:
        def met(*arguments: Any, original: Any = manifest_entries._next, **named: Any) -> Any:
            both.wait(timeout=300)
            return original(*arguments, **named)

        manifest_entries._next = met  # of the approval, and of the event: in this process alone
        ended = 1
        try:
            _approve(stand, who, key)
            ended = 0
        finally:
            (tmp_path / who).write_text(traceback.format_exc())
            os._exit(ended)  # without the ends of threads which other tests began and a fork does not have

    keys = (("anna", ANNA), ("bert", BERT))
    started = [forked.Process(target=approve, args=arguments) for arguments in keys]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=600)
    wrong = [file.read_text() for file in tmp_path.glob("*")]
    assert [process.exitcode for process in started] == [0, 0], wrong
    assert sorted(event.who for event in events(stand.records)) == ["anna", "bert"]
    assert history_problems(stand.records) == []
    code, printed = _run(stand, "promote")
    assert (code, stand.records.alias("champion")) == (0, "1"), printed
    assert _run(stand, "verify", "models:/tiny/1")[0] == 0


CHANGES: dict[str, dict[str, Any]] = {
    "another version": {"version": "2"},
    "another manifest": {"manifest": "0" * 64},
    "another reason": {"why": "all good"},
    "another key": {"key": "0" * 16},
    "no approval": {"more": 1},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_does_not_count(stand: Stand, what: str, caplog: pytest.LogCaptureFixture) -> None:
    _approve(stand, "anna", ANNA)
    [tag] = [name for name in stand.records.version_tags("1") if name.startswith(APPROVAL)]
    said = json.loads(stand.records.version_tags("1")[tag])
    stand.records.tag_version("1", tag, to_json({**said, **CHANGES[what]}))
    keys = trusted_keys(read_config(stand.project).promote)
    assert approvals_of(stand.registry.version("models:/tiny/1"), keys) == []
    assert tag in caplog.text
    code, printed = _run(stand, "promote")
    assert code == 1
    assert f"the tag {tag} was changed after it was written" in printed
    # Signed for another version by the same person, and copied: the signature fits, and says what it is for.
    code, _ = _run(stand, "approve", "models:/tiny/2", key=ANNA[0], who="anna")
    assert code == 0
    stand.records.tag_version("1", tag, stand.records.version_tags("2")[tag])
    assert approvals_of(stand.registry.version("models:/tiny/1"), keys) == []
    assert f"the tag {tag} approves of something else" in caplog.text


def test_force_needs_a_key_where_approvals_are_missing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECATEUR_SIGNING_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"promote\.approvals=2 is not met; --force lifts it for somebody who signs"):
        promote(stand.project, force_reason="outage")
    code, printed = _run(stand, "promote", "--force", "--reason", "outage", key=CARL[0], who="carl")
    assert code == 0, printed
    event = events(stand.records)[-1]
    assert (event.what, event.forced, event.why, event.who, event.approvals) == ("promoted", True, "outage", "carl", "")
    assert event.key is not None
    assert event.signature is not None
    assert stand.records.version_tags("1")["secateur.gate"] == "forced"


def test_only_keys_that_were_named_can_approve(stand: Stand) -> None:
    other = ed25519()
    code, said = _run(stand, "approve", "models:/tiny/1", key=other[0])
    assert (code, "is none of the keys in promote.approvers" in said) == (2, True)
    assert _run(stand, "approve", "models:/tiny/1") == (
        2, "SECATEUR_SIGNING_KEY is not set; it holds hmac:SECRET, ed25519:BASE64 or ecdsa:BASE64",
    )  # fmt: skip
    stand.records.tag_version("1", "secateur.commit", "another")
    code, said = _run(stand, "approve", "models:/tiny/1", key=ANNA[0])
    expected = "models:/tiny/1 is not approved: the tag secateur.commit was changed after it was written"
    assert (code, said) == (1, expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"promote__approvers": [ANNA[1]]}, "promote.approvals=2 asks for as many keys, and promote.approvers has 1"),
        ({"promote__approvers": []}, "promote.approvals=2 asks for as many keys, and SECATEUR_VERIFY_KEY is not set"),
        ({"promote__approvers": [ANNA[1], ANNA[1]]}, "promote.approvers names a key twice"),
        ({"promote__approvers": ["hmac:a long enough secret"]}, "promote.approvers"),
        ({"promote__approvers": ["ed25519:AAAA", ANNA[1]]}, r"promote.approvers\[0\] is no public key"),
        ({"promote__approvals": -1}, "promote.approvals"),
    ],
)
def test_what_cannot_be_met_is_refused_before_anything_is_judged(
    stand: Stand, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECATEUR_SIGNING_KEY", "SECATEUR_VERIFY_KEY"):
        monkeypatch.delenv(name, raising=False)
    stand.configure(**{"promote__approvals": 2, **settings})
    monkeypatch.setattr(secateur.registry.judgement, "judge_version", _never)
    with pytest.raises(ConfigError, match=said):
        promote(stand.project)


def _never(*_: Any, **__: Any) -> None:
    raise CheckFailed("somebody was judged")


def test_the_key_that_verifies_may_approve_alone(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.configure(promote__approvals=1)
    monkeypatch.setenv("SECATEUR_VERIFY_KEY", BERT[1])
    code, said = _run(stand, "approve", "models:/tiny/1", key=ANNA[0])
    assert (code, "is none of the keys that count, which is that of SECATEUR_VERIFY_KEY" in said) == (2, True)
    _approve(stand, "bert", BERT)
    keys = trusted_keys(read_config(stand.project).promote)
    assert [one.who for one in approvals_of(stand.registry.version("models:/tiny/1"), keys)] == ["bert"]

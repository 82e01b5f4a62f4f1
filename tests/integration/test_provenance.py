"""``models verify``, ``sign``, ``lineage`` and ``compare`` on real versions."""

import base64
import json
import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from secateur.cli import cli
from secateur.errors import CheckFailed, ConfigError
from secateur.registry.history import Event, write
from tests.integration.in_process import output
from tests.integration.registry_stand import Stand, without_class

ONE = "models:/tiny/1"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Three versions: a baseline, one without a class, and one to be damaged."""
    made = Stand(tmp_path_factory.mktemp("provenance") / "project")
    made.register("baseline")
    made.register("r1", without_class(made, 1))
    made.register("r2")
    return made


def _failed(stand: Stand, *arguments: str) -> str:
    with chdir(stand.root), pytest.raises(CheckFailed) as caught:
        cli.main(["models", *arguments], standalone_mode=False)
    assert caught.value.exit_code == 1
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_an_untouched_version_verifies(stand: Stand) -> None:
    said = output(stand.root, "models", "verify", ONE)
    assert re.search(r"files have their digests; manifest [0-9a-f]{12}; not signed\n$", said)
    found = json.loads(output(stand.root, "models", "verify", "tiny", "--json"))
    assert (found["model"], found["version"], found["intact"]) == ("tiny", "3", True)
    names = {Path(entry["file"]).name for entry in found["files"]}
    assert names >= {
        "model.safetensors",
        "config.json",
        "card.json",
        "tokenizer.json",
        "MLmodel",
    }


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "card.json", "tokenizer.json", "MLmodel"])
def test_one_changed_byte_is_found_and_named(stand: Stand, name: str) -> None:
    file = stand.stored("3", name)
    before = file.read_bytes()
    file.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
    try:
        message = _failed(stand, "verify", "models:/tiny/3")
    finally:
        file.write_bytes(before)
    assert f"{name} " in message
    assert "differs" in message


def test_a_missing_file_and_one_that_was_added_are_named(stand: Stand) -> None:
    file = stand.stored("3", "tokenizer.json")
    away = stand.root / "away.json"
    file.rename(away)
    try:
        assert "tokenizer.json is missing" in _failed(stand, "verify", "models:/tiny/3")
    finally:
        away.rename(file)
    extra = file.with_name("extra.py")
    extra.write_text("print()")
    try:
        assert "extra.py belongs to no registered file" in _failed(stand, "verify", "models:/tiny/3")
    finally:
        extra.unlink()


def _ed25519() -> tuple[str, str]:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return tuple(f"ed25519:{base64.b64encode(raw).decode()}" for raw in (private.private_bytes_raw(), public))  # type: ignore[return-value]


@pytest.mark.parametrize("algorithm", ["hmac", "ed25519"])
def test_a_signature_fits_its_key_and_its_files_alone(
    stand: Stand, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = ("hmac:a long enough secret",) * 2 if algorithm == "hmac" else _ed25519()
    monkeypatch.setenv("SECATEUR_SIGNING_KEY", private)
    assert f"is signed with {algorithm}" in output(stand.root, "models", "sign", ONE)
    monkeypatch.delenv("SECATEUR_SIGNING_KEY")
    assert "signed, but no key is set to check it" in output(stand.root, "models", "verify", ONE)
    monkeypatch.setenv("SECATEUR_VERIFY_KEY", public)
    assert "the signature fits" in output(stand.root, "models", "verify", ONE)
    assert "models:/tiny/2 is not signed" in _failed(stand, "verify", "models:/tiny/2")
    # Whoever can write to the registry can copy a signature to another version, or change a digest.
    records = stand.records
    records.tag_version("2", "secateur.signature", records.version_tags("1")["secateur.signature"])
    assert "signature of something else" in _failed(stand, "verify", "models:/tiny/2")
    data = records.version_tags("1")["secateur.data_md5"]
    records.tag_version("1", "secateur.data_md5", "another")
    assert "signature of something else" in _failed(stand, "verify", ONE)
    records.tag_version("1", "secateur.data_md5", data)
    other = "hmac:another long secret" if algorithm == "hmac" else _ed25519()[1]
    monkeypatch.setenv("SECATEUR_VERIFY_KEY", other)
    assert "is signed with another key" in _failed(stand, "verify", ONE)
    records._client.delete_model_version_tag("tiny", "2", "secateur.signature")


@pytest.mark.parametrize("key", ["hmac:short", "ed25519:AAAA", "ed25519:!", "rsa:abc", "nothing"])
def test_what_is_no_key_is_refused(stand: Stand, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_SIGNING_KEY", key)
    with chdir(stand.root), pytest.raises(ConfigError, match="SECATEUR_SIGNING_KEY is no key: it must be hmac:SECRET"):
        cli.main(["models", "sign", ONE], standalone_mode=False)


def test_signing_needs_a_key(stand: Stand) -> None:
    with chdir(stand.root), pytest.raises(ConfigError, match="SECATEUR_SIGNING_KEY is not set"):
        cli.main(["models", "sign", ONE], standalone_mode=False)


def _chain(node: dict[str, Any]) -> list[tuple[str, str]]:
    return [(node["what"], node["name"])] + [pair for child in node["children"] for pair in _chain(child)]


def test_lineage_goes_from_the_data_to_the_promotion(stand: Stand) -> None:
    write(stand.records, Event(1, "promoted", "1", "3", "me", "2026-01-01T00:00:00+00:00", "better", False))
    root = json.loads(output(stand.root, "models", "lineage", "models:/tiny/3", "--json"))
    assert _chain(root) == [
        ("data", "rows.csv"), ("clean", "clean"), ("baseline", "baseline"), ("round", "r1"), ("round", "r2"),
        ("version", "tiny 3"), ("champion", "promoted #1"),
    ]  # fmt: skip
    assert root["facts"]["md5"] == "d" * 32 + ".dir"
    assert root["facts"]["rows.csv"] == "5" * 32
    [clean] = root["children"]
    assert set(clean["facts"]) >= {"test.parquet"}
    tree = output(stand.root, "models", "lineage", "models:/tiny/1")
    assert "baseline" in tree
    assert "round" not in tree


def test_compare_shows_what_changed(stand: Stand) -> None:
    found = json.loads(output(stand.root, "models", "compare", ONE, "models:/tiny/2", "--json", "--examples", "3"))
    assert found["metrics"]["macro_f1"] == {"a": 0.5, "b": 0.5}
    assert found["scores"]["a"]["accuracy"] == 1.0, "the stand's model is right by a margin"
    assert found["scores"]["b"]["accuracy"] == pytest.approx(2 / 3), "one of three labels is never said"
    assert found["changed"] >= found["lost"] > 20
    assert found["p"] < 1e-5
    assert len(found["examples"]) == 3
    for example in found["examples"]:
        assert (example["label"], example["a"]) == ("neutral", "neutral")
        assert example["b"] != "neutral"
    table = output(stand.root, "models", "compare", ONE, "models:/tiny/2")
    assert f"{found['changed']} of 90 predictions differ" in table
    said = [" ".join(line.split()) for line in table.splitlines()]
    assert "Deployed, on the 90 test rows here:" in said and "Macro-F1, PyTorch 0.500 0.500" in said
    assert "_" not in table[: table.index("predictions differ")] and max(map(len, table.splitlines())) <= 80
    same = json.loads(output(stand.root, "models", "compare", ONE, "models:/tiny/3", "--json"))
    assert (same["changed"], same["p"], same["examples"]) == (0, 1.0, [])

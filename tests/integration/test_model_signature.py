"""``model.sig``: written as OpenSSF Model Signing 1.0 has it, read as others write it."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from secateur.cli import cli
from secateur.errors import SecateurError
from secateur.files import sha256_file
from secateur.verification.keys import public_key
from secateur.verification.model_signature import problem_of
from tests.integration.registry_stand import Stand
from tests.integration.test_approvals import ecdsa

FOREIGN = Path(__file__).parent / "model_signing-1.1.1"
"""Three files, signed by the reference implementation with the key in ``key.pub``."""

KEY, OTHER = ecdsa(), ecdsa()


def _public(folder: Path) -> str:
    lines = (folder / "key.pub").read_text().splitlines()
    return "ecdsa:" + "".join(line for line in lines if not line.startswith("-----"))


def _files(folder: Path) -> dict[str, str]:
    found = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in found}


def test_what_the_reference_implementation_signed_fits() -> None:
    key = public_key(_public(FOREIGN), where="key.pub")
    text = (FOREIGN / "model.sig").read_text()
    files = _files(FOREIGN / "model")
    assert problem_of(text, files, key) is None
    assert problem_of(text, {**files, "a.txt": "0" * 64}, key) == "model.sig has another digest of a.txt"
    assert problem_of(text, {**files, "more": "0" * 64}, key) == "model.sig lists no more"
    assert problem_of(text, {"a.txt": files["a.txt"]}, key) == "model.sig lists a sub.txt"
    other = public_key(OTHER[1], where="other")
    assert "model.sig is not signed with this key" in str(problem_of(text, files, other))


def _changed(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        bundle = json.loads(text)
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(bundle, statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        return json.dumps(bundle)

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed(lambda _, statement: statement["predicate"]["resources"].pop()), "signature of something else"),
        (_changed(lambda bundle, _: bundle.update(mediaType="application/json")), "bundle of another version"),
        (_changed(lambda bundle, _: bundle["verificationMaterial"].pop("publicKey")), "not signed with this key"),
        (_changed(lambda bundle, _: bundle["dsseEnvelope"].update(signatures=[])), "no signature in the format"),
        (lambda text: text[:-20], "no signature in the format"),
        (lambda text: "[" * 5000, "no signature in the format"),
        (lambda text: "null", "no signature in the format"),
    ],
)
def test_what_is_damaged_is_named(change: Callable[[str], str], said: str) -> None:
    key = public_key(_public(FOREIGN), where="key.pub")
    text = change((FOREIGN / "model.sig").read_text())
    assert said in str(problem_of(text, _files(FOREIGN / "model"), key))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """One version, signed with a key on an elliptic curve."""
    made = Stand(tmp_path_factory.mktemp("signed") / "project")
    made.register("baseline")
    code, printed = _models(made, "sign", "models:/tiny/1", signing=KEY[0])
    assert (code, printed.endswith("; model.sig, for other tools, lies beside its files\n")) == (0, True)
    return made


def _models(stand: Stand, *arguments: str, signing: str = "", verify: str = "") -> tuple[int, str]:
    with chdir(stand.root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_SIGNING_KEY", signing)
        patch.setenv("SECATEUR_VERIFY_KEY", verify)
        result = CliRunner().invoke(cli, ["models", *arguments])
    if isinstance(result.exception, SecateurError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None, result.output
    return result.exit_code, result.stdout


def test_a_version_is_signed_for_others_and_stays_as_it_is(stand: Stand) -> None:
    root = stand.stored("1", "MLmodel").parent
    statement = json.loads(base64.b64decode(json.loads((root / "model.sig").read_text())["dsseEnvelope"]["payload"]))
    names = [one["name"] for one in statement["predicate"]["resources"]]
    assert names == sorted(names)
    assert {"MLmodel", "artifacts/baseline/model.safetensors", "artifacts/baseline/card.json"} <= {*names}
    assert _models(stand, "verify", "models:/tiny/1", verify=KEY[1])[1].endswith(
        "; the signature fits; model.sig fits\n"
    )
    assert "model.sig is there, but no ecdsa key is set to check it" in _models(stand, "verify", "models:/tiny/1")[1]
    code, said = _models(stand, "verify", "models:/tiny/1", verify=OTHER[1])
    assert (code, "not signed with this key" in said or "is signed with another key" in said) == (1, True)


@pytest.mark.parametrize(
    "plant",
    [
        lambda file: file.write_text(file.read_text().replace("tlogEntries", "entries")[:-9]),
        lambda file: (file.unlink(), file.symlink_to("MLmodel")),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: os.truncate(file, 17 << 20),
    ],
)
def test_what_takes_its_place_is_noticed(stand: Stand, plant: Callable[[Path], Any]) -> None:
    file = stand.stored("1", "MLmodel").with_name("model.sig")
    text = file.read_text()
    try:
        plant(file)
        code, said = _models(stand, "verify", "models:/tiny/1", verify=KEY[1])
        assert (code, "model.sig" in said) == (1, True)
    finally:
        file.rmdir() if file.is_dir() else file.unlink()
        file.write_text(text)


def test_the_reference_implementation_verifies_ours(stand: Stand, tmp_path: Path) -> None:
    """With ``model_signing`` on the path (pip install model-signing), which is none of our dependencies."""
    command = shutil.which(os.environ.get("MODEL_SIGNING", "model_signing"))
    if command is None:
        pytest.skip("model-signing is not installed")
    root = stand.stored("1", "MLmodel").parent
    key = tmp_path / "key.pub"
    key.write_bytes(public_key(KEY[1], where="key").pem())
    asked = [command, "verify", "key", str(root), "--signature", str(root / "model.sig"), "--public_key", str(key)]
    assert subprocess.run(asked, check=False).returncode == 0
    (root / "more.txt").write_text("more")
    try:
        assert subprocess.run(asked, check=False).returncode != 0
    finally:
        (root / "more.txt").unlink()

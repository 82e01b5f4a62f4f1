"""Whoever can write to the artifact store and to the registry's tags, but not here: what is planted is never run.

Every row plants something into a real registered version and asks every reader for it. The planted code would leave a
mark; no reader may, and none may call the version in order.
"""

import importlib.util
import json
import marshal
import os
import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.promote import promote, rollback
from flows.reproduce import reproduce
from secateur.cli import cli
from secateur.errors import CheckFailed, SecateurError
from secateur.files import sha256_file, to_json, write_json
from secateur.registry.tags import ARTIFACTS, MANIFEST, WRAPPER
from secateur.serving.served import load
from tests.integration.registry_stand import Stand

THREE = "models:/tiny/3"
KEY = "hmac:a long enough secret"
RELEASED = Path(__file__).with_name("released") / "registered_model-0.4-script.txt"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Versions 1, 2 and 3; the third is attacked."""
    stand = Stand(tmp_path_factory.mktemp("planted") / "project")
    for name in ("baseline", "r1", "r2"):
        stand.register(name)
    return stand


@pytest.fixture
def stand(made: Stand) -> Iterator[Stand]:
    """Version 3 as it was registered, challenger and champion before; version 1 is the champion. None is signed."""
    records, root = made.records, _root(made)
    kept, tags = made.root / "kept", {version: dict(records.version_tags(version)) for version in ("1", "3")}
    shutil.copytree(root, kept)
    for name in records.tags():
        records.tag(name, None)
    for alias, version in {"champion": "1", "previous": "3", "challenger": "3"}.items():
        records.point(alias, version)
    yield made
    shutil.rmtree(root)
    kept.rename(root)
    for version, before in tags.items():
        for name in set(records.version_tags(version)) - set(before):
            records._client.delete_model_version_tag("tiny", version, name)
        for name, value in before.items():
            records.tag_version(version, name, value)


def _root(stand: Stand) -> Path:
    return stand.stored("3", "MLmodel").parent


def _code(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()\n"


def _pyc(root: Path, mark: Path) -> str:
    """Plant bytecode that Python takes without a look at its source, of the script that versions once had."""
    code = marshal.dumps(compile(_code(mark), "registered_model.py", "exec"))
    target = root / "__pycache__" / Path(importlib.util.cache_from_source("registered_model.py")).name
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + code)
    return target.name


def _file(name: str) -> Callable[[Path, Path], str]:
    def plant(root: Path, mark: Path) -> str:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_code(mark))
        return file.name

    return plant


def _link(name: str, to: str) -> Callable[[Path, Path], str]:
    def plant(root: Path, _: Path) -> str:
        file = root / name
        if file.exists():
            file.rename(root.parent / "elsewhere")
        file.symlink_to(to)
        return file.name

    return plant


def _same_elsewhere(root: Path, _: Path) -> str:
    """Replace a file by a link to its twin: the digest fits, until somebody changes the twin."""
    file, twin = root / "artifacts/r2/model.safetensors", root.parents[1] / "twin"
    shutil.copyfile(file, twin)
    file.unlink()
    file.symlink_to(twin)
    return file.name


def _pipe(root: Path, _: Path) -> str:
    os.mkfifo(root / "artifacts" / "r2" / "tokens")
    return "tokens"


def _socket(root: Path, _: Path) -> str:
    with chdir(root), socket.socket(socket.AF_UNIX) as made:
        made.bind("door")
    return "door"


def _folder(root: Path, _: Path) -> str:
    (root / "artifacts" / "r2" / " .. ").mkdir()
    return " .. "


def _case(root: Path, _: Path) -> str:
    shutil.copyfile(root / "artifacts/r2/config.json", root / "artifacts/r2/CONFIG.json")
    return "CONFIG.json"


def _second_weights(root: Path, _: Path) -> str:
    shutil.copyfile(root / "artifacts/r2/model.safetensors", root / "artifacts/r2/model-00002-of-00002.safetensors")
    return "model-00002-of-00002.safetensors"


def _meta(root: Path, mark: Path) -> str:
    (root / "registered_model_meta").write_text(_code(mark))
    return "registered_model_meta"


FILES: dict[str, Callable[[Path, Path], str]] = {
    "bytecode of the script": _pyc,
    "bytecode in another folder": _file("artifacts/__pycache__/registered_model.cpython-311.pyc"),
    "a path file": _file("evil.pth"),
    "sitecustomize": _file("sitecustomize.py"),
    "usercustomize beside the weights": _file("artifacts/r2/usercustomize.py"),
    "conftest": _file("conftest.py"),
    "a module called mlflow": _file("mlflow.py"),
    "a package called torch": _file("artifacts/torch/__init__.py"),
    "code for the tokenizer": _file("artifacts/r2/tokenization_custom.py"),
    "a folder beside the checkpoint": _file("artifacts/r3/config.json"),
    "a hidden file": _file("artifacts/r2/.env"),
    "a pickle": _file("python_model.pkl"),
    "a second conda.yaml": _file("artifacts/conda.yaml"),
    "what MLflow leaves, with something else in it": _meta,
    "another case": _case,
    "a second file of weights": _second_weights,
    "a link to a file": _link("artifacts/r2/added_tokens.json", "config.json"),
    "a link to a folder outside": _link("artifacts/more", "/etc"),
    "a link that leads nowhere": _link("artifacts/r2/gone", "nowhere"),
    "a link in place of a file": _same_elsewhere,
    "a pipe": _pipe,
    "a socket": _socket,
    "an empty folder with an odd name": _folder,
}


def _invoke(stand: Stand, *arguments: str) -> None:
    with chdir(stand.root):
        result = CliRunner().invoke(cli, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def _promoted(stand: Stand) -> None:
    verdict = promote(stand.project)
    if not verdict.promoted:
        raise CheckFailed(verdict.reason)


READERS: dict[str, Callable[[Stand], object]] = {
    "verify": lambda stand: _invoke(stand, "models", "verify", THREE),
    "sign": lambda stand: _invoke(stand, "models", "sign", THREE),
    "predict": lambda stand: _invoke(stand, "predict", THREE, "a text"),
    "predict by alias": lambda stand: _invoke(stand, "predict", "models:/tiny@challenger", "a text"),
    "inspect": lambda stand: _invoke(stand, "inspect", THREE),
    "export": lambda stand: _invoke(stand, "export", THREE, "--to", "padded", "--out", "exported"),
    "compare": lambda stand: _invoke(stand, "models", "compare", "models:/tiny/1", THREE),
    "serve": lambda stand: load(stand.project, THREE, num_threads=1),
    "promote": _promoted,
    "rollback": lambda stand: rollback(stand.project),
    "reproduce": lambda stand: reproduce(stand.project, THREE),
}


@pytest.mark.parametrize("what", FILES)
def test_what_is_not_listed_stops_every_reader(
    what: str, stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_SIGNING_KEY", KEY)
    for reference in ("models:/tiny/1", THREE):
        _invoke(stand, "models", "sign", reference)
    mark = tmp_path / "ran"
    name = FILES[what](_root(stand), mark)
    for reader, read in READERS.items():
        with pytest.raises(SecateurError) as caught:
            read(stand)
        assert name in str(caught.value), reader
        assert caught.value.exit_code == 1, reader
        assert len(str(caught.value).splitlines()) == 1, reader
        assert not mark.exists(), reader
    assert stand.records.alias("champion") == "1"


def _list_again(stand: Stand, root: Path) -> None:
    """Bring tags and card into line with the files, as somebody does who can write both."""
    records = stand.records
    checkpoint = root / "artifacts" / "r2"
    card = json.loads((checkpoint / "card.json").read_text())
    card["files"] = {
        file.relative_to(checkpoint).as_posix(): sha256_file(file)
        for file in sorted(checkpoint.rglob("*"))
        if file.is_file() and file.name != "card.json"
    }
    write_json(checkpoint / "card.json", card)
    files = {file.relative_to(root).as_posix(): sha256_file(file) for file in root.rglob("*") if file.is_file()}
    stored = {name.removeprefix("artifacts/"): sha for name, sha in files.items() if name.startswith("artifacts/")}
    around = {name: sha for name, sha in files.items() if not name.startswith("artifacts/")}
    records.tag_version("3", ARTIFACTS, to_json(stored))
    records.tag_version("3", WRAPPER, to_json(around))
    records.tag_version("3", "secateur.files", to_json(card["files"]))
    # Who can write tags can take the manifest away, from the version and from its run.
    for name in [name for name in records.version_tags("3") if name.startswith(MANIFEST)]:
        records._client.delete_model_version_tag("tiny", "3", name)
    run = records._client.get_model_version("tiny", "3").run_id
    if MANIFEST in records._client.get_run(run).data.tags:
        records._client.delete_tag(run, MANIFEST)


def _edit(root: Path, name: str, **values: Any) -> None:
    file = root / "artifacts" / "r2" / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _script(root: Path, mark: Path) -> None:
    """Describe the version as those from before 0.4 were, with a script that is none of ours."""
    _replaced(root, "loader_module:", "    loader_module: mlflow.pyfunc.loaders.code_model")
    _replaced(root, "streamable:", "    model_code_path: registered_model.py")
    (root / "registered_model.py").write_text(RELEASED.read_text() + _code(mark))


def _replaced(root: Path, line: str, instead: str) -> None:
    file = root / "MLmodel"
    lines = [instead if at.strip().startswith(line) else at for at in file.read_text().splitlines()]
    assert instead in lines
    file.write_text("\n".join(lines) + "\n")


def _described(line: str, instead: str) -> Callable[[Path, Path], None]:
    def plant(root: Path, mark: Path) -> None:
        _replaced(root, line, instead)
        (root / "evil.py").write_text(_code(mark))
        (root / "python_model.pkl").write_bytes(pickle.dumps(_Opens(str(mark))))

    return plant


class _Opens:
    """Opens a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def _auto_map(file: str, **values: Any) -> Callable[[Path, Path], None]:
    def plant(root: Path, mark: Path) -> None:
        _edit(root, file, **values)
        code = _code(mark) + "class Custom:\n    pass\n"
        (root / "artifacts" / "r2" / "custom.py").write_text(code)

    return plant


def _outside(root: Path, _: Path) -> None:
    file = root / "MLmodel"
    file.write_text(file.read_text().replace("path: artifacts/r2", "path: artifacts/../../../../../models/r2"))


_MAPPED = {"AutoModelForSequenceClassification": "custom.Custom", "AutoConfig": "custom.Custom"}
_TOKENS = {"AutoTokenizer": ["custom.Custom", "custom.Custom"]}

LISTED: dict[str, tuple[Callable[[Path, Path], None], set[str]]] = {
    # What is planted, and which readers refuse it; the others read it and run nothing of it.
    "another script": (_script, {"verify", "sign", "promote", "rollback"}),
    "another loader": (_described("loader_module:", "    loader_module: evil"), set(READERS)),
    "a folder for the import path": (_described("code: null", "    code: ."), set(READERS)),
    "a pickle in the description": (
        _described("streamable:", "    python_model: python_model.pkl"),
        set(READERS),
    ),
    "a folder outside": (_outside, set(READERS)),
    "custom code for the tokenizer": (_auto_map("tokenizer_config.json", auto_map=_TOKENS), set()),
    "custom code for an unknown tokenizer": (
        _auto_map("tokenizer_config.json", auto_map=_TOKENS, tokenizer_class="Custom"),
        set(),
    ),
    "custom code for the model": (_auto_map("config.json", auto_map=_MAPPED), set()),
    "custom code for an unknown model": (_auto_map("config.json", auto_map=_MAPPED, model_type="custom"), set()),
}


REAL = {"another script", "custom code for the tokenizer"}
"""Judged and moved in processes of their own; what those would take in the others is what a fork of one would."""


@pytest.mark.parametrize("what", LISTED)
def test_what_is_listed_with_false_digests_is_not_run_either(
    what: str, stand: Stand, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if what not in REAL:
        request.getfixturevalue("forked_proofs")
    plant, refusing = LISTED[what]
    mark = tmp_path / "ran"
    root = _root(stand)
    plant(root, mark)
    _list_again(stand, root)
    # Where a version stays readable, prediction and the fresh process of a promotion are those who open everything.
    readers = refusing | {"predict", "promote"}
    for reader, read in READERS.items():
        if reader not in readers:
            continue
        try:
            read(stand)
        except SecateurError as error:
            assert len(str(error).splitlines()) == 1, reader
            refused = True
        else:
            refused = False
        finally:
            shutil.rmtree(stand.root / "exported", ignore_errors=True)
        assert refused or reader not in refusing, reader
        assert not mark.exists(), reader


def test_with_a_key_false_digests_stop_every_reader(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_SIGNING_KEY", KEY)
    _invoke(stand, "models", "sign", THREE)
    monkeypatch.delenv("SECATEUR_SIGNING_KEY")
    monkeypatch.setenv("SECATEUR_VERIFY_KEY", KEY)
    root = _root(stand)
    _edit(root, "tokenizer_config.json", model_max_length=3)
    _list_again(stand, root)
    for reader, read in READERS.items():
        if reader != "sign":
            with pytest.raises(CheckFailed, match=r"signature of something else|is not signed"):
                read(stand)


@pytest.mark.parametrize(
    ("signed_with", "said"),
    [
        (None, "is not signed, and SECATEUR_VERIFY_KEY asks for a signature"),
        ("hmac:another long secret", "is signed with another key"),
    ],
)
def test_with_a_key_what_nobody_who_has_it_signed_stops_every_reader(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, signed_with: str | None, said: str
) -> None:
    if signed_with is not None:
        monkeypatch.setenv("SECATEUR_SIGNING_KEY", signed_with)
        for reference in ("models:/tiny/1", THREE):
            _invoke(stand, "models", "sign", reference)
        monkeypatch.delenv("SECATEUR_SIGNING_KEY")
    monkeypatch.setenv("SECATEUR_VERIFY_KEY", KEY)
    monkeypatch.setattr("secateur.registry.model_source.PrivateCopy", _never)
    for reader, read in READERS.items():
        if reader != "sign":
            with pytest.raises(CheckFailed) as caught:
                read(stand)
            assert said in str(caught.value), reader
    assert stand.records.alias("champion") == "1"
    _invoke(stand, "models", "history", "tiny")


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("a file was opened")

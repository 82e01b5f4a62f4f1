"""What ``tests.fuzz_files`` damages: a good one of every kind, and who reads it."""

import base64
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import secateur
from secateur.files import sha256_file, write_json
from secateur.inference.prediction import Predictor
from secateur.models.card import CARD, Card
from secateur.models.checkpoint import save
from secateur.registry.approvals import Approval, approvals_of
from secateur.registry.history import Event, champions, events, write
from secateur.registry.history_check import history_problems
from secateur.registry.lock import outputs_of, stages_of
from secateur.registry.manifest import describe, problems, written_for
from secateur.registry.manifest_entries import extend
from secateur.registry.model_description import folders_of
from secateur.registry.registered_version import RegisteredVersion
from secateur.registry.signing import problem_of
from secateur.registry.tags import APPROVAL, DIGESTS, MANIFEST, TRANSITION, Aliases, VersionTags
from secateur.registry.transition import require_idle
from secateur.registry.verdict import Verdict, kept
from secateur.scheduling.live import live_in
from secateur.serving.tokens import Token, read_tokens
from secateur.verification.key_text import read_key
from secateur.workflow import dvc_lock
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.fuzz_files import Subject
from tests.tiny import PARAMS, write_bert, write_params

_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", CARD)


def every_subject() -> tuple[Subject, ...]:
    """Make a good one of each."""
    logging.disable()
    home = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        return (*_texts(home), _rows(), *_checkpoints(home))
    finally:
        shutil.rmtree(home)


def _texts(home: Path) -> list[Subject]:
    from tests.tiny_live import write_live

    write_params(home / "params.yaml")
    (home / "reports").mkdir()
    write_live(home, psi=0.4)
    lock = {"schema": "2.0", "stages": {"clean": {"cmd": "x", "outs": [{"path": "a", "md5": "d" * 32, "size": 3}]}}}
    described = {
        "flavors": {
            "python_function": {
                "artifacts": {"checkpoint": {"path": "artifacts/r2"}, "deployed": {"path": "artifacts/r2-onnx"}},
                "env": {"conda": "conda.yaml"},
                "loader_module": "secateur.registry.registered_model",
                "python_version": "3.11.1",
            }
        }
    }
    tokens = "".join(
        f"{Token(name, hashlib.sha256(name.encode()).hexdigest(), 5.0).line}\n" for name in ("anna", "bert")
    )
    return [
        Subject("params.yaml", (home / "params.yaml").read_bytes(), _named("params.yaml", _params), is_json=True),
        Subject("dvc.lock", json.dumps(lock, indent=1).encode(), _lock, is_json=True),
        Subject("MLmodel", json.dumps(described, indent=1).encode(), _described, is_json=True),
        Subject("live.json", (home / "reports/live.json").read_bytes(), live_in, is_json=True),
        Subject("tokens", tokens.encode(), read_tokens),
    ]


def _named(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    def by_name(path: Path) -> object:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(path, Path(folder) / name)
            return read(Path(folder))

    return by_name


def _params(folder: Path) -> object:
    return read_config(Project(folder))


def _lock(path: Path) -> object:
    content = path.read_bytes()
    dvc_lock.problem(content)
    stages = stages_of(content.decode("utf-8", "replace"))
    return [outputs_of(stages, address) for address in stages]


def _described(path: Path) -> object:
    return folders_of(path.read_bytes(), where=path, named="models:/tiny/1")


class _Registry:
    """One model of one version, whose rows are what they are."""

    name = "tiny"

    def __init__(self, of_model: dict[str, str], of_version: dict[str, str]) -> None:
        self.of_model, self.of_version = of_model, of_version
        self.registry: Any = self

    def tags(self) -> dict[str, str]:
        return dict(self.of_model)

    def tag(self, key: str, value: str) -> None:
        self.of_model[key] = value

    def version_tags(self, _: str) -> VersionTags:
        return VersionTags(dict(self.of_version))

    def tag_version(self, _: str, key: str, value: str) -> None:
        self.of_version[key] = value

    def aliases(self) -> Aliases:
        return Aliases({"champion": "1"})

    def versions(self, _: str) -> list[RegisteredVersion]:
        return [self.entry]

    @property
    def entry(self) -> RegisteredVersion:
        return RegisteredVersion("tiny", "1", ("champion",), 0, "run", {}, self.version_tags("1"))


def _rows() -> Subject:
    raw = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes_raw()
    key = read_key(f"ed25519:{base64.b64encode(raw).decode()}", private=True)
    assert key is not None
    verdict = Verdict(True, False, "1", None, (), "all 0 conditions hold").as_json()
    tags = {tag: json.dumps({"MLmodel": "0" * 64}) for tag in DIGESTS}
    tags |= {"secateur.runtime": "torch", "secateur.weights_sha256": "0" * 64, "secateur.verdict": json.dumps(verdict)}
    made = written_for(model="tiny", run="run", tags=tags, metrics={}, parameters={}, kept={})
    found: Any = _Registry({}, {**tags, MANIFEST: made})
    said = Approval("tiny", "1", "0" * 64, key.id, key.algorithm, "anna", "2026-01-01T00:00:00+00:00", "")
    signed = {**vars(said), "value": base64.b64encode(key.sign(said.message)).decode()}
    extend(found, "1", "approved", {f"{APPROVAL}{key.id}": json.dumps(signed)})
    for number in (1, 2):
        write(found, Event(number, "promoted", None, "1", "me", "2026-01-01T00:00:00+00:00", "why", False))
    move = {
        "number": 3, "what": "promoted", "from_": "1", "to": "1", "who": "me", "when": "2026-01-01T00:00:00+00:00",
        "why": "why", "forced": False, "state": "pending", "host": "h", "process": "1@2", "approvals": None,
    }  # fmt: skip
    found.of_model[TRANSITION] = json.dumps(move)
    content = json.dumps({"model": found.of_model, "version": found.of_version}, indent=1).encode()

    def read(path: Path) -> object:
        try:
            values = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return None  # a registry has rows, whatever they say
        of = {name: _texts_of(values.get(name) if isinstance(values, dict) else None) for name in ("model", "version")}
        rows: Any = _Registry(of["model"], of["version"])
        tags, entry = rows.version_tags("1"), rows.entry
        problems(tags, model="tiny", run="run", metrics={})
        describe(tags)
        kept(tags)
        champions(events(rows))
        history_problems(rows, key=key)
        approvals_of(entry, (key,))
        problem_of("tiny", "1", tags, key)
        require_idle(rows)
        return [tags.digests(tag, label="tiny") for tag in DIGESTS], tags.runtime

    return Subject("rows of a registry", content, read, is_json=True)


def _texts_of(values: Any) -> dict[str, str]:
    items = values.items() if isinstance(values, dict) else ()
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in items}


def _checkpoints(home: Path) -> list[Subject]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    base, good = write_bert(home / "bert"), Path(tempfile.mkdtemp(prefix="fuzz-good-")) / "model"
    names = {0: "bad", 1: "good"}
    model = AutoModelForSequenceClassification.from_pretrained(base, id2label=names, label2id={"bad": 0, "good": 1})
    card = {
        "stage": "baseline", "key": "0" * 32, "task": "classification", "state": "dense", "inputs": {},
        "fingerprint": {}, "labels": ["bad", "good"], "max_length": 16,
    }  # fmt: skip
    save(model.eval(), AutoTokenizer.from_pretrained(base), good, card=card, check_reload=False)
    assert PARAMS["baseline.max_length"] == card["max_length"]

    def reader(name: str) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "model"
                shutil.copytree(good, folder)
                shutil.copyfile(path, folder / name)
                if name != CARD:  # whoever can write files can write their digests
                    said = json.loads((folder / CARD).read_text())
                    said["files"][name] = sha256_file(folder / name)
                    write_json(folder / CARD, said)
                Card.read(folder)
                secateur.load(folder)
                return Predictor.load(folder).predict(["a good day", "好" * 40])

        return read

    return [Subject(name, (good / name).read_bytes(), reader(name), is_json=name.endswith(".json")) for name in _FILES]

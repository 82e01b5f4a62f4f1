"""Tiny real things: a random BERT with a trained tokenizer, rows that can be learned, a project around them."""

import copy
import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm

REPOSITORY = Path(__file__).resolve().parent.parent
_BINARIES = str(Path(sys.executable).parent)
_KEPT = ("constraints.txt", ".dvcignore", ".gitignore")
_POSITIVE = ["good", "great", "lovely", "happy", "sunny", "bright", "fine", "sweet", "calm", "superb"]
_NEGATIVE = ["bad", "awful", "gloomy", "angry", "rainy", "dark", "poor", "bitter", "loud", "dreadful"]
_NEUTRAL = ["table", "chair", "window", "street", "paper", "number", "letter", "bottle", "pencil", "clock"]
_FILLER = [
    "the",
    "a",
    "my",
    "your",
    "this",
    "that",
    "today",
    "train",
    "house",
    "day",
    "walk",
    "song",
    "book",
    "river",
    "stone",
]

PARAMS: dict[str, Any] = {
    "run": {"task": "classification", "seed": 0, "num_threads": 1, "precision": "fp32"},
    "ingest.source": "rows.csv",
    "ingest.text_column": "text",
    "ingest.label_column": "label",
    "ingest.confidence_column": None,
    "clean.min_confidence": 0.0,
    "clean.near_duplicate_threshold": 0.95,
    "clean.validation_fraction": 0.2,
    "clean.test_fraction": 0.2,
    "clean.min_validation_rows": 0,
    "clean.min_test_rows": 0,
    "clean.max_train_rows": None,
    "baseline.model": "./tiny-bert",
    "baseline.max_length": 16,
    "baseline.epochs": 6,
    "baseline.min_steps": 0,
    "baseline.learning_rate": 3e-3,
    "baseline.train_embeddings": True,
    "prune.recovery.learning_rate": 1e-3,
    "prune.recovery.train_embeddings": True,
    "baseline.batch_size": 16,
    "prune.budget": {"macs": 0.6},
    "prune.latency.runtime": "onnx",
    "prune.criterion": "gradient",
    "prune.repair": "none",
    "prune.search_trials": 0,
    "prune.vocabulary_min_count": 0,
    "prune.min_heads": 1,
    "prune.min_neurons": 8,
    "prune.calibration_rows": 32,
    "prune.ffn_multiple": 8,
    "prune.max_drop": 0.9,
    "prune.recovery.epochs": 1,
    "prune.recovery.min_steps": 0,
    "prune.recovery.batch_size": 16,
    "prune.schedule": {"shape": "cubic", "steps": 2},
    "prune.rounds": {
        "r1": {"prev": "baseline", "action": None, "budget": None, "epochs": None, "learning_rate": None},
        "r2": {"prev": "r1", "action": None, "budget": None, "epochs": None, "learning_rate": None},
    },
    "evaluate.bootstrap_samples": 100,
    "evaluate.deployed": "torch",
    "evaluate.robustness.rows": 0,
    "evaluate.reference": False,
    "register.runtime": "torch",
    "evaluate.latency.runtimes": ["torch"],
    "evaluate.latency.length": 8,
    "evaluate.latency.repeats": 3,
    "register.model_name": "tiny",
    "promote.min_rows": 5,
    "promote.min_macro_f1": 0.0,
    "promote.max_drop": 0.3,
    "promote.significance.samples": 200,
    "promote.latency.max_ratio": None,
    "promote.latency.length": 8,
    "promote.latency.repeats": 5,
    "promote.size.max_ratio": None,
    "promote.classes.min_recall": 0.0,
    "promote.slices.min_accuracy": 0.0,
    "promote.robustness.rows": 16,
}


def sentences(count: int, *, num_labels: int = 2, seed: int = 0) -> list[tuple[str, str]]:
    """Return distinct (text, label) pairs that a model can learn: one telling word among fillers."""
    draw = random.Random(seed)
    words = {"negative": _NEGATIVE, "positive": _POSITIVE, "neutral": _NEUTRAL}
    words |= {f"topic{i}": [f"{a}{i}" for a in _FILLER[:6]] for i in range(3, num_labels)}
    labels = list(words)[:num_labels]
    rows: dict[str, str] = {}
    while len(rows) < count:
        label = labels[len(rows) % num_labels]
        text = draw.choices(_FILLER, k=6)
        text.insert(draw.randrange(7), draw.choice(words[label]))
        rows.setdefault(f"{' '.join(text)} {draw.randrange(10**6)}", label)
    return list(rows.items())


def several(count: int, *, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Return distinct texts with the labels of all telling words in them: none, one, two or three.

    Their length tells nothing: batches hold texts of similar length, and each should hold all labels.
    """
    draw = random.Random(seed)
    words = {"negative": _NEGATIVE, "neutral": _NEUTRAL, "positive": _POSITIVE}
    rows: dict[str, list[str]] = {}
    while len(rows) < count:
        labels = [name for number, name in enumerate(words) if len(rows) >> number & 1]
        fillers = draw.choices(_FILLER, k=draw.randrange(6, 9) - len(labels))
        text = [*fillers, *(draw.choice(words[label]) for label in labels)]
        draw.shuffle(text)
        rows.setdefault(f"{' '.join(text)} {draw.randrange(10**6)}", labels)
    return list(rows.items())


def rated(count: int, *, seed: int = 0) -> list[tuple[str, float]]:
    """Return distinct texts with a number each, which the telling words in them decide but for some noise."""
    draw, worth = random.Random(seed), {"negative": -150.0, "neutral": 50.0, "positive": 150.0}
    rows = several(count, seed=seed)
    return [(text, round(250.0 + sum(worth[one] for one in labels) + draw.uniform(-9, 9), 1)) for text, labels in rows]


def write_rows(path: Path, count: int = 160, **options: Any) -> Path:
    """Write ``sentences`` as a CSV file with the columns text and label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(sentences(count, **options))
    return path


def _vocabulary() -> dict[str, int]:
    """Words of the sentences and single characters. A trained one would differ from process to process."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({*_POSITIVE, *_NEGATIVE, *_NEUTRAL, *_FILLER} - set("a"))
    characters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    pieces = [*special, *words, *characters, *(f"##{character}" for character in characters)]
    return {piece: index for index, piece in enumerate(pieces)}


def write_bert(
    folder: Path, *, seed: int = 0, hidden: int = 32, layers: int = 2, heads: int = 4, ffn: int = 64
) -> Path:
    """Write a random BERT encoder and a WordPiece tokenizer that knows the words of the sentences."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    trained = BertWordPieceTokenizer(vocab=_vocabulary(), lowercase=True)
    trained.save(str(folder / "raw.json"))
    BertTokenizerFast(tokenizer_file=str(folder / "raw.json")).save_pretrained(folder)
    (folder / "raw.json").unlink()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=trained.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def full_params(file: Path = REPOSITORY / "params.yaml") -> dict[str, Any]:
    """Return what a file chooses together with all defaults, as a file of version 0.3 names every parameter."""
    from ruamel.yaml import YAML

    from secateur.config.schema import parse_config

    config = parse_config(YAML(typ="safe").load(file.read_text(encoding="utf-8")))
    values = config.model_dump(mode="json", by_alias=True)
    values["prune"]["budget"] = config.prune.budget.model_dump(exclude_none=True)
    return values


def write_params(path: Path, changes: dict[str, Any] | None = None, *, short: bool = False) -> None:
    """Write params.yaml: the shipped one, all parameters named, made tiny, with changes by dotted name.

    With ``short`` it names what is tiny and what was changed alone, as a project's own does: what reads and writes it
    and dvc.lock takes a third of the time.
    """
    values: dict[str, Any] = {} if short else full_params()
    for name, value in copy.deepcopy({**PARAMS, **(changes or {})}).items():  # a later name may write into a value
        *parents, last = name.split(".")
        section = values
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")  # JSON is YAML


def make_project(root: Path, *, changes: dict[str, Any] | None = None, rows: int = 160, short: bool = False) -> Path:
    """Make a git and DVC workspace with tiny rows, a tiny model and tiny parameters; see ``write_params``."""
    root.mkdir(parents=True)
    for name in _KEPT:
        shutil.copy(REPOSITORY / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(REPOSITORY / ".dvc" / name, root / ".dvc" / name)
    write_rows(root / "rows.csv", rows)
    write_bert(root / "tiny-bert")
    write_params(root / "params.yaml", changes, short=short)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    render(root)
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "a project"]):
        git(root, *arguments)
    return root


def render(root: Path) -> None:
    """Render dvc.yaml as ``secateur plan`` does, without git or DVC."""
    from secateur.workflow.params import read_config
    from secateur.workflow.project import Project
    from secateur.workflow.rendering import update_pipeline

    project = Project(root)
    update_pipeline(project, read_config(project))


def git(root: Path, *arguments: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    completed = subprocess.run(["git", "-C", str(root), *who, *arguments], capture_output=True, text=True, check=True)
    return completed.stdout


def environment() -> dict[str, str]:
    """Return the environment of a command in a project: the console scripts on PATH, somebody who commits."""
    return {
        **os.environ,
        "PATH": f"{_BINARIES}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "tests",
        "GIT_AUTHOR_EMAIL": "tests@localhost",
        "GIT_COMMITTER_NAME": "tests",
        "GIT_COMMITTER_EMAIL": "tests@localhost",
    }


def secateur(root: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a project: in a warm fork; with ``cold`` in a process anew."""
    return _run(root, "secateur.cli", *arguments, **options)


def dvc(root: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run DVC in a project."""
    return _run(root, "dvc", *arguments, **options)


def python(root: Path, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a folder."""
    return _run(root, "-c", code, **options)


def _run(
    root: Path, module: str, *arguments: str, check: bool = True, cold: bool = False, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    variables = environment() | (env or {})
    if warm.POSSIBLE and not cold:
        completed = warm.run(module, arguments, cwd=root, env=variables)
    else:
        completed = subprocess.run(
            [sys.executable, "-P", *(["-m"] if module != "-c" else []), module, *arguments],
            cwd=root,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
    if check and completed.returncode != 0:
        said = f"{completed.stdout}\n{completed.stderr}"
        raise AssertionError(f"{module} {' '.join(arguments)}: {completed.returncode}\n{said}")
    return completed


def actions(root: Path, *arguments: str) -> dict[str, str]:
    """Run the flow and return stage -> what was done."""
    printed = json.loads(secateur(root, "run", "--json", *arguments).stdout)
    return {entry["stage"]: entry["action"] for entry in printed["stages"]}

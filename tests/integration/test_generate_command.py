"""`secateur generate`: texts from a folder or the registry; what cannot work is one line."""

import json
from contextlib import chdir
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result

from secateur.cli import cli
from secateur.errors import SecateurError
from secateur.inference.decoding import Sampling
from secateur.inference.writing import Writer
from secateur.models.card import read_card
from secateur.registry.mlflow_store import ModelRegistry, Version
from secateur.workflow.project import Project
from tests.tiny import git
from tests.tiny_generators import CONTEXT, write_generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("generate") / "generator")


def ran(*arguments: str | Path, **options: str | bytes) -> Result:
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)], **options)  # type: ignore[arg-type]


def said(*arguments: str | Path) -> str:
    with pytest.raises(SecateurError) as caught:
        cli.main(["generate", *map(str, arguments)], standalone_mode=False)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_texts_of_a_seed_come_again_and_agree_with_the_library(folder: Path) -> None:
    asked = (folder, "酒店", "好", "--num", "2", "--control", "positive", "--max-tokens", "9", "--seed", "4")
    first, again = (ran(*asked, "--json").stdout for _ in range(2))
    assert first == again
    rows = json.loads(first)
    assert [row["prompt"] for row in rows] == ["酒店", "酒店", "好", "好"]
    expected = Writer.load(folder).write(
        ["酒店", "酒店", "好", "好"], sampling=Sampling(9, 0.8, 0.95, 4), label="positive"
    )
    assert [row["text"] for row in rows] == [text.text for text in expected]
    assert all(row["control"] == "positive" and row["tokens"] <= 9 for row in rows)
    assert ran(*asked).stdout.splitlines() == [row["text"] for row in rows]
    assert ran(*asked[:-1], "5", "--json").stdout != first


def test_prompts_come_from_standard_input_and_may_be_missing(folder: Path) -> None:
    piped = ran(folder, "--temperature", "0", input="酒店\n\n好\n").stdout.splitlines()
    assert piped == ran(folder, "--temperature", "0", "酒店", "好").stdout.splitlines()
    assert len(piped) == 2
    (row,) = json.loads(ran(folder, "--json", input="").stdout)
    assert (row["prompt"], row["control"]) == ("", None)


def test_a_text_is_told_piece_by_piece_as_it_comes(folder: Path) -> None:
    pieces: list[str] = []
    (text,) = Writer.load(folder).write(["酒店"], sampling=Sampling(12), on_text=pieces.append)
    assert "酒店" + "".join(pieces) == text.text
    assert len(pieces) > 1


def test_a_text_never_goes_beyond_the_context_and_special_tokens_stay_inside(folder: Path) -> None:
    (row,) = json.loads(ran(folder, "酒店", "--max-tokens", "999", "--temperature", "3", "--json").stdout)
    assert row["tokens"] <= CONTEXT - 3
    assert "<|" not in row["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("好", "--control", "joyful"),
            "'joyful' is nothing that the model can be asked for; known: negative, positive",
        ),
        (("好" * 30,), f"has 31 tokens, the model reads {CONTEXT}; shorten it"),
    ],
)
def test_what_cannot_be_written_is_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in said(folder, *arguments)


def test_a_folder_that_is_no_generator_is_one_line(folder: Path, tmp_path: Path) -> None:
    assert "does not exist; a checkpoint is a folder with config.json" in said(tmp_path / "nothing", "好")
    (tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert "config.json differs from its digest" in said(tmp_path / "copy", "好")


@pytest.mark.parametrize("option", ["--temperature", "--top-p"])
def test_numbers_that_are_none_are_refused(folder: Path, option: str) -> None:
    found = ran(folder, "好", option, "nan")
    assert found.exit_code == 2
    assert f"{option} must be a finite number, found nan" in found.output


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    found = ran(folder, input=b"\xff\xfe\n")
    assert found.exit_code == 2
    assert "is not UTF-8" in found.output


def test_a_registered_generator_writes_by_its_alias_and_as_a_pyfunc(folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("{}\n")
    registry = ModelRegistry(Project(tmp_path))
    card = read_card(folder)
    tags = {"secateur.key": card["key"], "secateur.weights_sha256": card["weights_sha256"]}
    version = Version(
        name="baseline", checkpoint=folder, runtime="torch", deployed=None, tags=tags, metrics={"perplexity": 20.0},
        parameters={}, kind="generation",
    )  # fmt: skip
    for _ in range(2):
        published = registry.publish([version], experiment="e", model_name="writer", run_name="r", files=[])
    assert published == {"baseline": "1"}
    registry.set_alias("writer", "champion", "1")
    with chdir(tmp_path):
        by_alias = ran("models:/writer@champion", "酒店", "--control", "negative", "--max-tokens", "7").stdout.strip()
    assert by_alias == ran(folder, "酒店", "--control", "negative", "--max-tokens", "7").stdout.strip()
    loaded = mlflow.pyfunc.load_model("models:/writer@champion")
    found = loaded.predict(["酒店"], params={"control": "negative", "max_tokens": 7})
    assert list(found.columns) == ["text"]
    assert found["text"].tolist() == [by_alias]
    stored = mlflow.artifacts.download_artifacts("models:/writer@champion")
    assert not [file for file in Path(stored).rglob("*") if file.suffix in (".pkl", ".pickle", ".bin", ".pt")]

import pytest

from secateur.data.pretrained import check_model, copy_model
from secateur.errors import ModelError


def folder_of(path, *names):
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text(name, encoding="utf-8")
    return path


def test_only_the_files_of_the_model_are_copied(tmp_path):
    model = folder_of(
        tmp_path / "tiny", "config.json", "model.safetensors", "vocab.txt", "README.md", "pytorch_model.bin", "run.py"
    )
    record = copy_model(str(model), revision=None, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert sorted(record["files"]) == ["config.json", "model.safetensors", "vocab.txt"]
    assert (record["kind"], record["source"]) == ("file", "tiny")
    assert str(tmp_path) not in str(record)


def test_a_model_in_several_files_is_copied_whole(tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    model = folder_of(tmp_path / "big", "config.json", *shards)
    assert set(copy_model(str(model), revision=None, out=tmp_path / "out")["files"]) == {"config.json", *shards}


def test_from_scratch_takes_a_config_of_any_name_and_no_weights(tmp_path):
    folder = folder_of(tmp_path / "s", "small.json", "tokenizer.json", "model.safetensors")
    record = copy_model(f"scratch:{folder / 'small.json'}", revision=None, out=tmp_path / "out")
    assert sorted(record["files"]) == ["config.json", "tokenizer.json"]
    assert (tmp_path / "out/config.json").read_text(encoding="utf-8") == "small.json"
    assert (record["kind"], record["source"]) == ("scratch", "small.json")


def test_where_a_local_model_is_may_be_told(tmp_path):
    model = folder_of(tmp_path / "m", "config.json", "model.safetensors")
    assert copy_model("./m", revision=None, out=tmp_path / "out", at=model)["source"] == "m"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model.safetensors"], "has no config.json; it holds model.safetensors"),
        (["config.json", "pytorch_model.bin"], "holds pytorch_model.bin and no safetensors; pickle can run code"),
        (["config.json"], "has no model.safetensors; it holds config.json"),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused(tmp_path, names, message):
    with pytest.raises(ModelError, match=message):
        check_model("tiny", root=folder_of(tmp_path / "tiny", *names).parent)


def test_what_is_no_model_at_all_is_refused(tmp_path):
    (tmp_path / "m.json").touch()
    with pytest.raises(ModelError, match=r"baseline.model=m.json is a file; it must be a folder"):
        check_model("m.json", root=tmp_path)
    with pytest.raises(ModelError, match=r"scratch: wants the path of a config.json"):
        check_model("scratch:nothing", root=tmp_path)
    with pytest.raises(ModelError, match=r"baseline.model: package 'no-such' is not installed"):
        check_model("package:no-such/model")


def test_a_hub_model_is_not_looked_at_before_the_run():
    check_model("owner/some-model-v1.5")

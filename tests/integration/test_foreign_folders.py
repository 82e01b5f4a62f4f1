"""Commands on folders that others have written: what loads, and what is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMultipleChoice,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForTokenClassification,
    Trainer,
    TrainingArguments,
)

import secateur
from secateur.models.checkpoint import load_base, load_tokenizer
from tests.integration.in_process import output, refused
from tests.tiny import write_bert, write_rows
from tests.tiny_models import tiny_config
from tests.tiny_tokenizers import unigram

NAMES = ["negative", "positive"]
QUICK = ("-S", "calibration_rows=16", "-S", "search_trials=0", "-S", "ffn_multiple=8", "--threads", "1")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``dense``: a classifier as Hugging Face writes it; ``cut``: pruned by us; in a folder with an awkward name."""
    root = tmp_path_factory.mktemp("anna's models")
    write_rows(root / "rows.csv", 40)
    base = write_bert(root / "base")
    torch.manual_seed(0)
    model = load_base(base, labels=NAMES)
    model.save_pretrained(root / "dense")
    load_tokenizer(base).save_pretrained(root / "dense")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)
        prune(root, "dense", "cut")
    return root


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A copy of ``dense`` to spoil, beside the rows."""
    shutil.copytree(home / "dense", tmp_path / "model")
    shutil.copy(home / "rows.csv", tmp_path)
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def _without_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)


def prune(root: Path, folder: str, out: str) -> dict[str, Any]:
    asked = ("prune", folder, "--data", "rows.csv", "--out", out, "--criterion", "magnitude", *QUICK, "--json")
    found: dict[str, Any] = json.loads(output(root, *asked))
    return found


def further(root: Path, folder: str, out: Path) -> Path:
    """Train a model a step further, and save it as transformers does."""
    model = secateur.load(root / folder)
    model(input_ids=torch.tensor([[2, 7, 9, 3]]), labels=torch.tensor([1])).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.save_pretrained(out)
    load_tokenizer(root / folder).save_pretrained(out)
    return out


def checkpoint_of_a_trainer(root: Path, folder: str, out: Path) -> Path:
    rows = [{"input_ids": [2, 7, 9, 3], "attention_mask": [1, 1, 1, 1], "labels": index % 2} for index in range(4)]
    settings = TrainingArguments(out / "run", max_steps=1, save_steps=1, report_to=[], disable_tqdm=True, use_cpu=True)
    Trainer(
        secateur.load(root / folder), settings, train_dataset=rows, processing_class=load_tokenizer(root / folder)
    ).train()
    return out / "run/checkpoint-1"


@pytest.mark.parametrize(("start", "write"), [("dense", further), ("cut", checkpoint_of_a_trainer)])
def test_every_command_takes_what_was_trained_further(
    home: Path, tmp_path: Path, start: str, write: Callable[..., Path]
) -> None:
    given = write(home, start, tmp_path / "further")
    assert not (given / "card.json").exists()
    seen = json.loads(output(home, "inspect", given, "--json"))
    assert seen["card"] == {}
    assert seen["labels"] == NAMES
    assert output(home, "inspect", given)
    timed = json.loads(output(home, "bench", "cut", given, "--runtime", "torch", "--repeats", "3", "--json"))
    assert [row["checkpoint"] for row in timed["results"]] == ["cut", str(given)]
    said = json.loads(output(home, "predict", given, "the day good", "--json"))
    output(home, "export", given, "--to", "onnx", "--out", tmp_path / "onnx")
    exported = json.loads(output(home, "predict", tmp_path / "onnx", "the day good", "--json"))
    assert exported[0]["label"] == said[0]["label"]
    assert exported[0]["score"] == pytest.approx(said[0]["score"], abs=1e-4)
    output(home, "export", given, "--to", "padded", "--out", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded")
    ids = torch.tensor([[2, 7, 9, 3]])
    torch.testing.assert_close(plain(ids).logits, secateur.load(given)(ids).logits)
    found = prune(home, str(given), str(tmp_path / "again"))
    assert found["pruned"]["params"] < found["dense"]["params"]
    assert secateur.load(tmp_path / "again")(ids).logits.isfinite().all()


def test_labels_that_are_numbers_in_the_config_are_names(home: Path, tmp_path: Path) -> None:
    """As some programs write them; `prune` ended in a traceback, and `predict --json` answered with numbers."""
    shutil.copytree(home / "dense", tmp_path / "dense")
    config = json.loads((tmp_path / "dense/config.json").read_text())
    config["id2label"] = dict(enumerate(range(len(NAMES))))
    (tmp_path / "dense/config.json").write_text(json.dumps(config))
    (tmp_path / "dense/card.json").unlink(missing_ok=True)
    assert json.loads(output(tmp_path, "predict", "dense", "good", "--json"))[0]["label"] in ("0", "1")
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"good day {n},{n % 2}\n" for n in range(60)))
    asked = ("--data", "rows.csv", "--out", "cut2", "--macs", "0.7", "--max-length", "12", "--criterion", "magnitude")
    output(tmp_path, "prune", "dense", *asked)
    assert secateur.load(tmp_path / "cut2").config.id2label == {0: "0", 1: "1"}
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"good day {n},{'ab'[n % 2]}\n" for n in range(60)))
    assert "it knows 0, 1" in str(refused(tmp_path, "prune", "dense", *asked[:2], "--out", "cut3", "--macs", "0.7"))


def test_a_folder_of_checkpoints_names_the_one_inside(home: Path, tmp_path: Path) -> None:
    for number in (9, 10):
        shutil.copytree(home / "cut", tmp_path / f"runs/checkpoint-{number}")
    for command in (["predict", "runs", "good"], ["inspect", "runs"]):
        assert "it has no config.json; runs/checkpoint-10 has one" in str(refused(tmp_path, *command))


def test_masks_that_old_decoders_saved_are_no_weights(home: Path, tmp_path: Path) -> None:
    """GPT-2 and Pythia on the hub have them; they were taken for quantised weights."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=40, vocab_size=200)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "model")
    masks = {f"transformer.h.{n}.attn.bias": torch.ones(1, 1, 40, 40, dtype=torch.bool) for n in range(2)}
    _tensors(lambda tensors: tensors.update(masks))(tmp_path / "model")
    assert json.loads(output(tmp_path, "inspect", "model", "--json"))["params"] > 0


def test_weights_that_changed_under_a_card_are_named_with_the_way_on(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "cut", tmp_path / "cut")
    model = secateur.load(tmp_path / "cut")
    model.classifier.bias.data.add_(1.0)
    model.save_pretrained(tmp_path / "cut")
    said = str(refused(tmp_path, "inspect", "cut"))
    assert "differs from its digest in card.json" in said
    assert "if you trained it further, take card.json away" in said
    (tmp_path / "cut/card.json").unlink()
    output(tmp_path, "inspect", "cut")
    assert torch.equal(secateur.load(tmp_path / "cut").classifier.bias, model.classifier.bias)


def test_a_weight_file_that_the_card_does_not_list_is_not_opened(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "cut", tmp_path / "cut")
    card = json.loads((tmp_path / "cut/card.json").read_text())
    del card["files"]["model.safetensors"]
    (tmp_path / "cut/card.json").write_text(json.dumps(card))
    assert "model.safetensors is not listed in card.json, and was not opened" in str(
        refused(tmp_path, "inspect", "cut")
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}, {"variant": "small"}], ids=str)
def test_small_types_shards_and_variants(
    folder: Path, tmp_path: Path, dtype: torch.dtype, options: dict[str, Any]
) -> None:
    model = secateur.load(folder).to(dtype)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, **options)
    prune(tmp_path, "model", "out")
    cut = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    assert {tensor.dtype for tensor in cut.values()} == {dtype}
    dense_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert (tmp_path / "out/model.safetensors").stat().st_size < dense_bytes
    output(tmp_path, "bench", "model", "out", "--runtime", "torch", "--repeats", "3")
    output(tmp_path, "predict", "out", "the day good")


def test_a_classifier_without_a_padding_token(home: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=40, vocab_size=200, bos_token_id=2, eos_token_id=3)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(home / "dense")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    values = json.loads((tmp_path / "gpt2/config.json").read_text())
    values.update(id2label={"0": NAMES[0], "1": NAMES[1]}, label2id={NAMES[0]: 0, NAMES[1]: 1})
    assert values.get("pad_token_id") is None
    (tmp_path / "gpt2/config.json").write_text(json.dumps(values))
    shutil.copy(home / "rows.csv", tmp_path)
    prune(tmp_path, "gpt2", "out")
    assert secateur.load(tmp_path / "out").config.pad_token_id == tokenizer.pad_token_id
    texts = ("the day", "the day is good and the train is very very late")
    together = json.loads(output(tmp_path, "predict", "gpt2", *texts, "--json"))
    alone = [json.loads(output(tmp_path, "predict", "gpt2", text, "--json"))[0] for text in texts]
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], abs=1e-5)
    with_texts = json.loads(output(tmp_path, "predict", "gpt2", "", *texts, "--json"))
    tokenizer.backend_tokenizer.post_processor = None  # no token of its own: an empty text has none at all
    tokenizer.save_pretrained(tmp_path / "gpt2")
    assert len(json.loads(output(tmp_path, "predict", "gpt2", "", "--json"))) == len(with_texts) - 2


def test_a_multilingual_model_is_cut_to_the_words_of_its_rows(home: Path, tmp_path: Path) -> None:
    """A tokenizer of sentencepiece's kind, of four scripts; the rows have one."""
    tokenizer = unigram()
    config = tiny_config("xlm-roberta", num_layers=2)
    config.vocab_size, config.id2label, config.label2id = len(tokenizer), dict(enumerate(NAMES)), None
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "xlm")
    tokenizer.save_pretrained(tmp_path / "xlm")
    asked = ("--data", home / "rows.csv", "--out", "cut", "--criterion", "magnitude", "-S", "vocabulary_min_count=1")
    output(tmp_path, "prune", "xlm", *asked, *QUICK)
    seen = json.loads(output(tmp_path, "inspect", "cut", "--json"))
    cut = load_tokenizer(tmp_path / "cut")
    assert len(cut) == secateur.load(tmp_path / "cut").config.vocab_size < len(tokenizer) - 10
    assert (cut.pad_token_id, cut.tokenize("the day good")) == (1, tokenizer.tokenize("the day good"))
    assert seen["labels"] == NAMES
    output(tmp_path, "export", "cut", "--to", "onnx", "--out", "onnx")
    texts = ("the day good", "房间很好 🙂")
    said, exported = (json.loads(output(tmp_path, "predict", name, *texts, "--json")) for name in ("cut", "onnx"))
    assert [row["score"] for row in exported] == pytest.approx([row["score"] for row in said], abs=1e-4)


def test_a_sentencepiece_model_alone_names_the_package_that_reads_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "spm.model").write_bytes(b"\n\x0e\n\x05<unk>")
    monkeypatch.setattr("secateur.models.checkpoint.find_spec", lambda name: None)
    said = str(refused(tmp_path, "predict", "model", "the day good"))
    assert "is spm.model without a tokenizer.json, which the package sentencepiece reads; after pip install" in said


def test_what_is_not_finite_is_no_answer(folder: Path, tmp_path: Path) -> None:
    _tensors(_words("classifier.bias", torch.tensor(float("nan"))))(folder)
    assert "classifier.bias holds NaN or infinity" in str(refused(tmp_path, "predict", "model", "the day good"))


def _config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return spoil


def _text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _with_mark(encoding: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "config.json").write_text((folder / "config.json").read_text(), encoding=encoding)

    return spoil


def _instead(make: Callable[[], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for file in ("config.json", "model.safetensors"):
            (folder / file).unlink()
        make().save_pretrained(folder)

    return spoil


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _a_run(folder: Path) -> None:
    shutil.move(folder, folder.with_name("kept"))
    shutil.move(folder.with_name("kept"), folder / "checkpoint-7")


def _in_a_cache(folder: Path) -> None:
    """As the hub's cache keeps a repository."""
    shutil.move(folder, folder.with_name("kept"))
    shutil.move(folder.with_name("kept"), folder / "snapshots/0a1b")


def _dangling(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../blobs/0a1b")


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a model")


def _without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])


def _tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "model.safetensors"
        tensors = safetensors.torch.load_file(file)
        change(tensors)
        safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})

    return spoil


def _two_variants(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model.fp16.safetensors")
    (folder / "model.safetensors").rename(folder / "model.bf16.safetensors")


def _an_index(*, names: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(names))

    return spoil


def _a_tokenizer_of_its_own(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")


def _added_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["ood", "ad", "rain", "ery"])
    tokenizer.save_pretrained(folder)


def _words(name: str, values: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.__setitem__(name, values.expand_as(tensors[name]).contiguous())


BIAS = "bert.encoder.layer.0.output.dense.bias"
LOADING = {
    "an empty folder": (_emptied, "holds no model: it has no config.json"),
    "a run of a trainer": (_a_run, "checkpoint-7 has one"),
    "a file": (_a_file, "is a file; a checkpoint is a folder"),
    "no folder": (shutil.rmtree, "does not exist; a checkpoint is a folder"),
    "an adapter": (_text("adapter_config.json", "{}"), "merge it into its model first"),
    "a broken config": (_text("config.json", "{"), "no model_type can be read"),
    "a config that an editor of Windows saved": (
        _with_mark("utf-8-sig"),
        "config.json begins with a byte-order mark, which transformers does not read; saved as UTF-8 without one",
    ),
    "a config that is a list": (_text("config.json", "[1]"), "no model_type can be read"),
    "no heads": (_config(num_attention_heads=0), "config.json cannot be used"),
    "packed weights": (_config(quantization_config={"quant_method": "gptq"}), "the weights are quantised (gptq)"),
    "a number": (
        _config(problem_type="regression"),
        "and models of one number (regression) are supported",
    ),
    "an unknown family": (
        _instead(lambda: AlbertForSequenceClassification(AlbertConfig(**SMALL))),
        "model_type 'albert' has the same weights in all layers, so none can be cut by itself",
    ),
    "a head for tokens": (
        _instead(lambda: BertForTokenClassification(BertConfig(**SMALL))),
        "holds a BertForTokenClassification; of bert models, ...ForSequenceClassification and ...Model are supported",
    ),
    "a head for choices": (
        _instead(lambda: BertForMultipleChoice(BertConfig(**SMALL))),
        "holds a BertForMultipleChoice; of bert models, ...ForSequenceClassification and ...Model are supported",
    ),
    "a decoder's head for tokens": (
        _instead(lambda: LlamaForTokenClassification(LlamaConfig(**SMALL, intermediate_size=48))),
        "holds a LlamaForTokenClassification; of llama models, ...ForSequenceClassification and ...ForCausalLM",
    ),
    "pickled weights": (_pickled, "(pickled weights are not read); `secateur convert"),
    "no weights": (_without("model.safetensors"), "has no model.safetensors (other formats are not read)"),
    "weights that were cut off": (_cut_off, "model.safetensors is damaged"),
    "weights that are text": (_text("model.safetensors", "weights"), "model.safetensors is damaged"),
    "weights of other eight bits": (
        _tensors(lambda tensors: tensors.update({BIAS: tensors[BIAS].to(torch.float8_e4m3fn)})),
        f"{BIAS} is of type F8_E4M3",
    ),
    "weights of eight bits": (
        _tensors(lambda tensors: tensors.update({BIAS: tensors[BIAS].to(torch.int8)})),
        f"{BIAS} is of type I8",
    ),
    "weights that Git LFS has not fetched": (
        _text("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "model.safetensors is a pointer of Git LFS, not the weights",
    ),
    "no layers": (_config(num_hidden_layers=0), "config.json: the model has no layers"),
    "fewer layers than weights": (
        _config(num_hidden_layers=1),
        "(16 such tensors), a layer that config.json does not count",
    ),
    "another vocabulary": (
        _config(vocab_size=50),
        "does not fit: bert.embeddings.word_embeddings.weight has shape (121, 32), and (50, 32) is needed",
    ),
    "an activation that is none": (_config(hidden_act="sharp"), "model.safetensors cannot be loaded: "),
    "an attention that is not installed": (
        _config(_attn_implementation="sharp"),
        "model.safetensors cannot be loaded: ",
    ),
    "labels with a gap": (
        _config(id2label={"0": "no", "2": "yes"}, label2id=None),
        "id2label in config.json names the numbers 0, 2; of 2 labels they are 0 to 1",
    ),
    "two labels of a name": (
        _config(id2label={"0": "yes", "1": "yes"}),
        "id2label in config.json names two labels 'yes'; each needs its own name",
    ),
    "labels that are others the other way": (
        _config(label2id={"negative": 1, "positive": 0}),
        "id2label in config.json gives 'negative' the number 0, and label2id 1; the two have to agree",
    ),
    "layers that differ in more than widths": (
        _config(per_layer_config={"1": {"skip": ["mlp"]}}),
        "per_layer_config of layer 1 has 'skip'; layers may differ in their heads and neurons",
    ),
    "a config that Git LFS has not fetched": (
        _text("config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "config.json is a pointer of Git LFS, not the config",
    ),
    "weights that a cache has lost": (_dangling, "model.safetensors is a link to a file that is not there"),
    "a cache of the hub": (_in_a_cache, "snapshots/0a1b has one"),
    "a tensor too few": (_tensors(lambda tensors: tensors.__delitem__(BIAS)), "lacks 1 tensors of a finished model"),
    "two variants": (_two_variants, "holds several variants (model.bf16.safetensors, model.fp16.safetensors)"),
    "an index of nothing": (_an_index(names={"weight_map": {}}), "weight files lie beside it, found []"),
    "an index that is broken": (_an_index(names=[]), "it names no weight files"),
    "an index that leads away": (_an_index(names={"weight_map": {"a": "../a"}}), "weight files lie beside it"),
    "a shard that is missing": (
        _an_index(names={"weight_map": {"a": "model-1.safetensors"}}),
        "model-1.safetensors is missing, model.safetensors.index.json names it",
    ),
}
WITH_TOKENIZER = {
    "no tokenizer": (_without("tokenizer.json", "tokenizer_config.json"), "holds no tokenizer"),
    "a vocabulary alone": (_a_tokenizer_of_its_own, "vocab.txt alone does not say how text is split"),
    "a tokenizer's config alone": (_without("tokenizer.json"), "cannot be loaded: it has no tokenizer.json, which its"),
    "a tokenizer that Git LFS has not fetched": (
        _text("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "tokenizer.json is a pointer of Git LFS, not a tokenizer",
    ),
    "a broken tokenizer": (_text("tokenizer.json", "{"), "cannot be loaded"),
    "tokens without embeddings": (_added_tokens, "and the model has embeddings for"),
    "weights that are NaN": (_tensors(_words(BIAS, torch.tensor(float("nan")))), "holds NaN or infinity"),
}


@pytest.mark.parametrize("command", ["inspect", "bench", "export", "prune"])
@pytest.mark.parametrize("case", LOADING)
def test_what_does_not_load_is_refused_in_one_line(folder: Path, tmp_path: Path, case: str, command: str) -> None:
    spoil, message = LOADING[case]
    spoil(folder)
    arguments = {
        "inspect": (),
        "bench": ("--repeats", "3"),
        "export": ("--to", "onnx", "--out", "out"),
        "prune": ("--data", "rows.csv", "--out", "out", *QUICK),
    }
    assert message in str(refused(tmp_path, command, "model", *arguments[command]))


@pytest.mark.parametrize("case", WITH_TOKENIZER)
def test_what_cannot_read_texts_is_refused_in_one_line(folder: Path, tmp_path: Path, case: str) -> None:
    spoil, message = WITH_TOKENIZER[case]
    spoil(folder)
    assert message in str(refused(tmp_path, "prune", "model", "--data", "rows.csv", "--out", "out", *QUICK))

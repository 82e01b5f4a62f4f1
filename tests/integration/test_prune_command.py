"""``secateur prune``: anybody's finished classifier and a table of rows, no project."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from secateur import load
from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.cli import cli
from secateur.config.one_shot import one_shot_settings
from secateur.config.prune import LatencyBudget
from secateur.errors import (
    BudgetError,
    CheckFailed,
    CheckpointError,
    ConfigError,
    DataError,
    ModelError,
    SecateurError,
)
from secateur.kinds.registry import kind_named
from secateur.models.card import Card, read_card, verify
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.pruning.one_shot_rows import Request, read_rows
from secateur.pruning.state_files import read_state
from secateur.pruning.weights.matrices import prunable
from secateur.readers.layout import Columns
from secateur.readers.reading import Reading
from tests.integration.in_process import output, refused
from tests.tiny import sentences, write_bert, write_rows

NAMES = ["negative", "positive"]
QUICK = ("-S", "calibration_rows=48", "-S", "search_trials=0", "-S", "ffn_multiple=8", "--threads", "1")


@pytest.fixture
def fresh_process() -> None:
    """Asked for by the test that also reloads in a fresh process, which costs 5 s each time."""


@pytest.fixture(autouse=True)
def _without_reload(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "fresh_process" not in request.fixturenames:
        monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ours, the same classifier as Hugging Face writes it, and rows for them."""
    root = tmp_path_factory.mktemp("home")
    base = write_bert(root / "base")
    torch.manual_seed(0)
    model, tokenizer = load_base(base, labels=NAMES), load_tokenizer(base)
    card = {"labels": NAMES, "max_length": 16, "text_rules": None, "dense_widths": widths_of(model).as_dict()}
    save(model, tokenizer, root / "ours", card=card, check_reload=False)
    for name, labels in (("named", NAMES), ("numbered", ["LABEL_0", "LABEL_1"])):
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: index for index, label in enumerate(labels)}
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    write_rows(root / "rows.csv", 80)
    rows = [{"text": text, "label": label} for text, label in sentences(80)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbered = [{"said": row["text"], "class": NAMES.index(row["label"])} for row in rows]
    (root / "numbered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered))
    with (root / "numbered.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["class", "said"])
        writer.writeheader()
        writer.writerows(numbered)
    pq.write_table(pa.Table.from_pylist(numbered), root / "numbered.parquet")
    return root


def pruned(home: Path, out: Path, *arguments: str, checkpoint: str = "ours", data: str = "rows.csv") -> dict[str, Any]:
    printed = output(home, "prune", checkpoint, "--data", data, "--out", out, *QUICK, *arguments, "--json")
    found: dict[str, Any] = json.loads(printed)
    return found


def assert_works(home: Path, out: Path, *, labels: list[str]) -> None:
    verify(out)
    assert bool(load(out)(input_ids=torch.tensor([[2, 7, 9, 3]])).logits.isfinite().all())
    predicted = json.loads(output(home, "predict", out, "--json", "the day good", "a walk"))
    assert {row["label"] for row in predicted} <= set(labels)


@pytest.mark.parametrize(
    ("checkpoint", "data", "columns", "labels"),
    [
        ("ours", "rows.csv", (), NAMES),
        ("ours", "rows.jsonl", (), NAMES),
        ("named", "rows.csv", (), NAMES),
        ("numbered", "numbered.csv", ("said", "class"), ["LABEL_0", "LABEL_1"]),
        ("numbered", "numbered.jsonl", ("said", "class"), ["LABEL_0", "LABEL_1"]),
        ("numbered", "numbered.parquet", ("said", "class"), ["LABEL_0", "LABEL_1"]),
    ],
)
def test_any_classifier_and_any_table(
    home: Path, tmp_path: Path, checkpoint: str, data: str, columns: tuple[str, ...], labels: list[str]
) -> None:
    out = tmp_path / "pruned"
    asked = [part for pair in zip(("--text-column", "--label-column"), columns, strict=False) for part in pair]
    found = pruned(home, out, "--macs", "0.6", *asked, checkpoint=checkpoint, data=data)
    assert found["out"] == str(out)
    assert found["rows"] == {"calibration": 56, "held_out": 16}
    assert found["achieved"]["macs"] <= 0.6
    assert found["pruned"]["macs"] < found["dense"]["macs"]
    assert set(found["pruned"]) == {"params", "macs", "accuracy", "macro_f1"}
    card = read_card(out)
    assert card["labels"] == labels
    assert card["asked"] == {"macs": 0.6}
    assert card["achieved"] == found["achieved"]
    assert card["metrics"]["held_out_macro_f1"] == pytest.approx(found["pruned"]["macro_f1"], abs=1e-6)
    assert_works(home, out, labels=labels)


@pytest.mark.parametrize(
    ("budget", "kind", "reached"),
    [
        (("--macs", "0.4"), "macs", lambda value: value <= 0.4),
        (("--params", "0.5"), "params", lambda value: value <= 0.5),
        (("--sparsity", "0.7"), "sparsity", lambda value: value >= 0.7),
        (("-S", "budget.macs=0.3"), "macs", lambda value: value <= 0.3),
        ((), "macs", lambda value: value <= 0.5),
    ],
)
def test_every_budget_is_met(home: Path, tmp_path: Path, budget: tuple[str, ...], kind: str, reached: Any) -> None:
    found = pruned(home, tmp_path / "out", *budget, "--criterion", "magnitude")
    assert reached(found["achieved"][kind])
    assert list(read_card(tmp_path / "out")["asked"]) == [kind]


def test_training_afterwards_learns_and_settings_of_params_yaml_work(home: Path, tmp_path: Path) -> None:
    """What a random model lacks, passes over 56 rows teach it in part."""
    learning = ("-S", "recovery.learning_rate=3e-3", "-S", "prune.recovery.train_embeddings=true")
    learning += ("-S", "recovery.distillation_weight=0", "-S", "recovery.batch_size=8")
    plain = pruned(home, tmp_path / "plain", "--criterion", "gradient")
    trained = pruned(home, tmp_path / "trained", "--criterion", "gradient", "--epochs", "12", *learning)
    assert trained["pruned"]["macro_f1"] > plain["pruned"]["macro_f1"] + 0.2
    card = read_card(tmp_path / "trained")
    assert (read_card(tmp_path / "plain")["state"], card["state"]) == ("compact", "recovered")
    assert card["parameters"]["recovery"]["learning_rate"] == 3e-3
    assert_works(home, tmp_path / "trained", labels=NAMES)


def test_rare_tokens_leave_the_vocabulary(home: Path, tmp_path: Path) -> None:
    """Texts get longer by that, but never longer than the model can read."""
    out = tmp_path / "out"
    found = pruned(home, out, "-S", "vocabulary_min_count=1000", "-S", "recovery.hidden_weight=1", "--epochs", "1")
    assert found["pruned"]["params"] < found["dense"]["params"] - 32 * 30
    assert load(out).config.vocab_size == len(load_tokenizer(out)) < len(load_tokenizer(home / "ours"))
    assert_works(home, out, labels=NAMES)
    lines = [f"{text} {' '.join(['lovely'] * 12)},{label}" for text, label in sentences(40)]
    (tmp_path / "long.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    pruned(home, tmp_path / "long", "-S", "vocabulary_min_count=1000", data=str(tmp_path / "long.csv"))


def test_single_weights_and_patterns(home: Path, tmp_path: Path) -> None:
    """2:4 is text, as it is in params.yaml, and no number of base 60."""
    out = tmp_path / "out"
    weights = ("-S", "granularity=weights", "-S", "pattern=2:4", "--sparsity", "0.5", "--criterion", "wanda")
    found = pruned(home, out, *weights, "--epochs", "1")
    assert {key: found["achieved"][key] for key in ("macs", "params", "sparsity")} == {
        "macs": 1.0, "params": 1.0, "sparsity": 0.5,
    }  # fmt: skip
    state = read_state(out, load(out), card=Card.read(out))
    assert state.weights is not None
    assert state.weights.sparsity == 0.5
    again = ("-S", "granularity=weights", "--sparsity", "0.6", "--criterion", "magnitude", "--epochs", "1")
    pruned(home, tmp_path / "again", *again, checkpoint=str(out))
    later = prunable(load(tmp_path / "again"))
    for name, mask in state.weights.matrices.items():
        assert not bool(later[name].weight[~mask].any()), "what was zero stays zero through the training"


@pytest.mark.parametrize("extra", [("--epochs", "1"), ("-S", "search_trials=3", "-S", "repair=least_squares")])
def test_the_same_command_twice_gives_the_same_weights(home: Path, tmp_path: Path, extra: tuple[str, ...]) -> None:
    for name in ("first", "second"):
        pruned(home, tmp_path / name, "--seed", "3", *extra)
    first, second = (read_card(tmp_path / name) for name in ("first", "second"))
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first == second


def test_what_was_pruned_before_is_pruned_again(home: Path, tmp_path: Path) -> None:
    """Budgets are fractions of the checkpoint that was given."""
    first = pruned(home, tmp_path / "first", "--macs", "0.6")
    second = pruned(home, tmp_path / "second", "--macs", "0.5", checkpoint=str(tmp_path / "first"))
    assert second["dense"] == {**first["pruned"], **{key: second["dense"][key] for key in ("accuracy", "macro_f1")}}
    assert 0.2 < second["achieved"]["macs"] <= 0.5
    assert second["pruned"]["macs"] < 0.55 * first["pruned"]["macs"]
    assert read_card(tmp_path / "second")["inputs"] == {"checkpoint": read_card(tmp_path / "first")["weights_sha256"]}
    assert_works(home, tmp_path / "second", labels=NAMES)
    error = error_of(home, tmp_path / "third", "--latency", "0.5", checkpoint=tmp_path / "first")
    assert isinstance(error, ModelError)
    assert "a budget of latency starts from a dense model, and this one was pruned before; ask for macs" in str(error)


def test_a_budget_of_time_is_measured_on_the_spot(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where and how is a setting; so tiny a model spends its time outside of what can be cut, so times are made up."""
    asked: dict[str, Any] = {}

    def measure(config: Any, where: LatencyBudget, *, hidden_size: int | None) -> LatencyTable:
        asked.update(where.model_dump())
        return LatencyTable(
            attention_ms=(0.0, 1.0, 1.5, 1.75, 2.0),
            ffn_widths=(0, 64),
            ffn_ms=(0.0, 4.0),
            fixed_ms=0.5,
            dense_ms=12.5,
            settings=where,
            shape=shape_of(config, hidden_size=hidden_size),
            machine={},
        )

    monkeypatch.setattr("secateur.pruning.once.measure_table", measure)
    where = ("-S", "latency.runtime=torch", "-S", "latency.repeats=3", "-S", "latency.length=8")
    found = pruned(home, tmp_path / "out", "--latency", "0.5", *where)
    assert asked == {"runtime": "torch", "batch": 1, "length": 8, "num_threads": 1, "repeats": 3, "max_error": 0.1}
    assert 0.4 < found["achieved"]["latency"] <= 0.5
    assert read_card(tmp_path / "out")["asked"] == {"latency": 0.5}


@pytest.mark.usefixtures("fresh_process")
def test_the_table_for_people(home: Path, tmp_path: Path) -> None:
    printed = output(home, "prune", "ours", "--data", "rows.csv", "--out", tmp_path / "out", *QUICK)
    assert "held-out rows: 16" in printed
    assert "dense" in printed and "pruned" in printed
    assert "`secateur bench` measures the speed" in printed
    assert "secateur.load reads it, plain transformers what `secateur export" in " ".join(printed.split())


def error_of(
    home: Path, out: Path, *arguments: str, checkpoint: str | Path = "ours", data: str | Path = "rows.csv"
) -> SecateurError:
    """Exit code 2, one line, nothing written."""
    error = refused(home, "prune", checkpoint, "--data", data, "--out", out, *QUICK, *arguments)
    assert not out.exists()
    assert list(out.parent.glob(f".{out.name}*")) == []
    return error


_WEIGHTS = ("-S", "granularity=weights", "--sparsity", "0.5")
_FIXED = ("--criterion", "fixed_weight")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--criterion", "luck"), ConfigError, "'luck' is no criterion; known: magnitude, gradient"),
        (
            ("--criterion", "wanda"),
            ConfigError,
            "criterion wanda is for granularity weights, found granularity structures",
        ),
        (("--macs", "0.5", "--params", "0.5"), ConfigError, "one budget at a time: found --macs, --params"),
        (("--macs", "0.5", "-S", "budget.params=0.5"), ConfigError, "found --macs, -S budget.params"),
        (("--macs", "1.5"), ConfigError, "budget.macs: input should be less than or equal to 1 (found 1.5)"),
        (("--macs", "nan"), ConfigError, "budget.macs: input should be"),
        (
            ("--macs", "0.001", "-S", "min_heads=1", "-S", "min_neurons=8"),
            BudgetError,
            "prune.budget.macs=0.001 is not reachable",
        ),
        (("--params", "0.01"), BudgetError, "prune.budget.params=0.01 is not reachable"),
        (("--text-column", "body"), DataError, "rows.csv has no column 'body'; its columns are: text, label"),
        (("-S", "nothing=1"), ConfigError, "nothing is not a known parameter"),
        (("-S", "recovery.nothing=1"), ConfigError, "recovery.nothing is not a known parameter"),
        (("-S", "criteron=obs"), ConfigError, "criteron is not a known parameter; did you mean criterion?"),
        (("-S", "epochs=1"), ConfigError, "epochs is not a known parameter; did you mean recovery.epochs or "),
        (("-S", "criterion.norm=l1"), ConfigError, "criterion.norm is no setting of pruning"),
        (("-S", "calibration_rows"), ConfigError, "-S calibration_rows: expected key=value"),
        (("-S", "multipliers=["), ConfigError, "-S multipliers=[: the value is not valid YAML"),
        (_FIXED, ConfigError, "criterion fixed_weight needs multipliers"),
        (
            (*_FIXED, "-S", "multipliers={layers.0.heads: 1, layers.7.ffn: 1}"),
            ConfigError,
            "prune.multipliers names what is not there: layers.7.ffn; names of this model are "
            "layers.<0..1|*>.heads[.<0..3|*>]",
        ),
        (
            (*_FIXED, "-S", "multipliers={layers.*.heads: 1, layers.1.ffn: 1}"),
            ConfigError,
            "prune.multipliers lacks layers.0.ffn;",
        ),
        (
            (*_FIXED, *_WEIGHTS, "-S", "multipliers={layers.*.ffn: 1, layers.*.heads: 1}"),
            ConfigError,
            "names no weights that may go: layers.*.heads; it has no entry for layers.0.attention.query",
        ),
        (("-S", "pattern=2:4"), ConfigError, "pattern 2:4 is for granularity weights"),
        (("-S", "min_heads=4", "-S", "min_neurons=64"), BudgetError, "ask for 1 or more"),
        (("-S", "regrow_fraction=0.7"), BudgetError, "ask for a regrow_fraction below 0.5"),
        (("-S", "regrow_fraction=0.1", "-S", "hidden_size=24"), ConfigError, "do not fit into prune.hidden_size=24"),
        (("-S", "num_layers=7"), ModelError, "num_layers=7 is more than the model has (2 layers); ask for 2 or less"),
        (("-S", "hidden_size=99"), ModelError, "hidden_size=99 is more than the model has (32 features)"),
    ],
)
def test_what_is_refused(home: Path, tmp_path: Path, arguments: tuple[str, ...], kind: type, message: str) -> None:
    error = error_of(home, tmp_path / "out", *arguments)
    assert isinstance(error, kind)
    assert message in str(error)


def test_an_impossible_budget_names_the_nearest_one_which_works(home: Path, tmp_path: Path) -> None:
    limits = ("-S", "min_heads=1", "-S", "min_neurons=8")
    error = error_of(home, tmp_path / "out", "--macs", "0.05", *limits)
    nearest = str(error).split("ask for ")[1].split()[0]
    assert pruned(home, tmp_path / "out", "--macs", nearest, *limits)["achieved"]["macs"] <= float(nearest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n" + "a day,positive\n" * 9 + "a walk,negative\n" * 9, "18 rows are too few"),
        (
            "text,label\n" + "a day,positive\n" * 30 + "a walk,mixed\nso,odd\n",
            "labels that the model has not: mixed, odd; it knows negative, positive",
        ),
        ("text,label\n", "has a header and no rows"),
        ("text,label\n" + "a day,positive\n" * 30 + "a walk,negative\n", "fewer than 3 rows"),
        ("", "is empty"),
    ],
)
def test_rows_that_do_not_serve(home: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "poor.csv").write_text(content)
    error = error_of(home, tmp_path / "out", data=tmp_path / "poor.csv")
    assert isinstance(error, DataError)
    assert message in str(error)


def test_how_a_table_is_written_can_be_said(home: Path, tmp_path: Path) -> None:
    lines = ["text^label", *(f"{text} café^{label}" for text, label in sentences(40))]
    (tmp_path / "rows.csv").write_bytes("\n".join(lines).encode("cp1252"))
    error = error_of(home, tmp_path / "out", data=tmp_path / "rows.csv")
    assert "set ingest.encoding (for instance cp1252, gb18030)" in str(error)
    said = ("-S", "ingest.encoding=cp1252", "-S", "ingest.delimiter=^", "--criterion", "magnitude")
    assert pruned(home, tmp_path / "out", *said, data=str(tmp_path / "rows.csv"))["rows"]["held_out"] == 8
    error = error_of(home, tmp_path / "none", "-S", "ingest.source=rows.csv")
    assert "of ingest, prune takes format, encoding, delimiter, header, quotes, " in str(error)


def _request(checkpoint: Path, rows: Path) -> Request:
    return Request(
        checkpoint=checkpoint,
        data=str(rows),
        reading=Reading(Columns("text", "label", None)),
        settings=one_shot_settings({}),
        max_length=16,
        seed=0,
        num_threads=1,
        precision="fp32",
    )


def test_copies_of_a_text_are_held_out_together(home: Path, tmp_path: Path) -> None:
    copies = [(f"{text.upper() if i % 3 else text}", label) for text, label in sentences(40) for i in range(4)]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *copies])
    request = _request(home / "ours", tmp_path / "rows.csv")
    said: list[str] = []
    rows = read_rows(
        request,
        load(home / "ours"),
        load_tokenizer(home / "ours"),
        rules=None,
        kind=kind_named("classification"),
        controls={},
        say=said.append,
    )
    parts = [
        {tuple(part.ids(i)) for i in range(len(part))} for part in (rows.calibration, rows.validation, rows.held_out)
    ]
    assert not parts[0] & parts[2] and not parts[1] & parts[2] and not parts[0] & parts[1]
    assert len(rows.held_out) == 32
    assert any("repeat another text; copies are held out together" in line for line in said)


def test_held_out_rows_that_the_model_learned_from_are_told(home: Path, tmp_path: Path) -> None:
    rows = sentences(40)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    (tmp_path / "data/clean").mkdir(parents=True)
    for name, part in (("train", rows[:30]), ("validation", rows[30:])):
        pq.write_table(pa.table({"text": [text for text, _ in part]}), tmp_path / f"data/clean/{name}.parquet")
    shutil.copytree(home / "ours", tmp_path / "models/baseline")
    request = _request(tmp_path / "models/baseline", tmp_path / "rows.csv")
    said: list[str] = []
    read_rows(
        request,
        load(home / "ours"),
        load_tokenizer(home / "ours"),
        rules=None,
        kind=kind_named("classification"),
        controls={},
        say=said.append,
    )
    assert any("8 of 8 held-out rows are among those that the model of this project learned" in line for line in said)


def test_a_missing_table_and_a_missing_checkpoint(home: Path, tmp_path: Path) -> None:
    assert "there is no file 'nowhere.csv'" in str(error_of(home, tmp_path / "out", data="nowhere.csv"))
    error = error_of(home, tmp_path / "out", checkpoint="nowhere")
    assert "nowhere does not exist; a checkpoint is a folder" in str(error)


def test_a_folder_that_exists_is_left_alone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    error = refused(home, "prune", "ours", "--data", "rows.csv", "--out", tmp_path / "out", *QUICK)
    assert isinstance(error, CheckpointError)
    assert "exists already; name a new folder" in str(error)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_with_another_head(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "base", tmp_path / "masked")
    config = json.loads((tmp_path / "masked/config.json").read_text())
    (tmp_path / "masked/config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    error = error_of(home, tmp_path / "out", checkpoint=tmp_path / "masked")
    assert isinstance(error, ModelError)
    assert "masked holds a BertForMaskedLM; " in str(error)


@pytest.mark.parametrize("criterion", ["magnitude", "obs"])
@pytest.mark.parametrize(
    "where", ["bert.embeddings.word_embeddings.weight", "bert.encoder.layer.1.output.dense.weight"]
)
def test_weights_that_are_not_finite(home: Path, tmp_path: Path, where: str, criterion: str) -> None:
    model = load(home / "ours")
    with torch.no_grad():
        model.get_parameter(where)[3, 2] = math.nan
    save(model, load_tokenizer(home / "ours"), tmp_path / "broken", card={"labels": NAMES}, check_reload=False)
    error = error_of(home, tmp_path / "out", "--criterion", criterion, checkpoint=tmp_path / "broken")
    assert isinstance(error, ModelError)
    assert f"{where} holds NaN or infinity" in str(error)


def test_a_tampered_checkpoint_is_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "ours", tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    error = error_of(home, tmp_path / "out", checkpoint=tmp_path / "ours")
    assert isinstance(error, CheckpointError)
    assert "model.safetensors" in str(error)


def test_the_command_is_listed() -> None:
    assert {"prune", "sweep"} <= set(cli.commands)


def test_a_promise_of_quality_is_kept(home: Path, tmp_path: Path) -> None:
    counted = ("-S", "budget.price=macs", "-S", "schedule.tries=2")
    found = pruned(home, tmp_path / "kept", "-S", "budget.max_drop=0.9", *counted)
    card = read_card(tmp_path / "kept")
    assert (card["asked"], card["price"], card["accepted"]) == ({"max_drop": 0.9}, "macs", True)
    assert card["achieved"]["max_drop"] <= 0.9
    assert found["achieved"] == card["achieved"] == card["tries"][-1]["achieved"]


def test_a_model_below_its_floor_is_not_written(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 0.3.0 it was, and its card said that it was accepted."""
    monkeypatch.setattr("secateur.pruning.round.below_floor", lambda *_, **__: "macro-F1 0.1 is below the floor of 0.5")
    asked = ("prune", "ours", "--data", "rows.csv", "--out", tmp_path / "no", *QUICK, "-S", "schedule.tries=1")
    with pytest.raises(CheckFailed, match=r"nothing is written: after one cut, macro-F1 0\.1 is below the floor"):
        output(home, *asked)
    assert not (tmp_path / "no").exists()

"""One suite for all kinds of task, ours and a toy that another package brings: from labels to the gate."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from secateur.cli.display import models_table
from secateur.cli.run_display import run_summary
from secateur.cli.version_display import comparison as show_comparison
from secateur.config.baseline import BaselineSection
from secateur.config.catalogue import parameters
from secateur.config.part import parse_part
from secateur.config.prune import PruneSettings
from secateur.data.indicators import indicated
from secateur.data.tokens import as_arrow, read_tokens, write_tokens
from secateur.errors import CheckFailed, CheckpointError, ConfigError
from secateur.extensions import forget
from secateur.files import write_json
from secateur.gate.condition import JudgedRows
from secateur.kinds.base import Kind
from secateur.kinds.registry import KINDS, kind_named
from secateur.models import construction
from secateur.models.card import Card
from secateur.models.checkpoint import kind_of_folder, load, save
from secateur.pruning.sweep import sweep
from secateur.readers.label_sets import as_set
from secateur.registry.fresh_process import SMOKE
from secateur.registry.publication import numbers_of
from secateur.registry.registered_version import ListedModel, RegisteredVersion
from secateur.registry.tags import Aliases, VersionTags
from secateur.report.headline import headline
from secateur.report.page import render
from secateur.report.presentation import Evaluated
from secateur.report.results import ReportData, read_results
from secateur.report.sweep_plot import draw_sweep
from secateur.training.batches import batches_of
from secateur.training.objectives import outputs_of
from secateur.training.prepared_rows import TRAIN, read_prepared_rows
from secateur.training.validation import validate
from secateur.workflow import code_lock
from secateur.workflow.project import Project
from secateur.workflow.results import comparison
from tasks import evaluate
from tests import toy_kind
from tests.foreign_package import install
from tests.integration.in_process import output
from tests.tasks import generation_chain
from tests.tasks.stage_chain import BASELINE, EVALUATE, PRUNE, evaluate_job, run_baseline, run_round
from tests.tasks.stage_chain import RUN as LABELLED
from tests.tasks.stage_chain import write_inputs as write_labelled
from tests.tiny import sentences, several

SITE = "toy_rating"
TOY = Path(toy_kind.__file__).read_text(encoding="utf-8")


def bring(site: Path, source: str = TOY) -> None:
    """Install the toy as another package would."""
    install(
        site, name="ratings", files={f"{SITE}.py": source}, entry_points={"secateur.kinds": {"rating": f"{SITE}:KIND"}}
    )


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    bring(folder)
    sys.path.insert(0, str(folder))
    forget()
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop(SITE, None)
    forget()


def write_rated(root: Path) -> None:
    """Write rows that are rated 1 or 4, by what they say."""
    write_labelled(root)
    write_json(root / "labels.json", [])
    for part in ("train", "validation", "test"):
        table = pq.read_table(root / f"{part}.parquet")
        values = kind_named("rating").targets([str(1 + 3 * label) for label in table["label"].to_pylist()]).values
        pq.write_table(table.set_column(1, "label", pa.array(values)), root / f"{part}.parquet")


def write_sets(root: Path) -> None:
    """Write rows with any number of three labels, by the words in them."""
    write_labelled(root)
    names = ["negative", "neutral", "positive"]
    write_json(root / "labels.json", names)
    for seed, (part, count) in enumerate({"train": 96, "validation": 40, "test": 40}.items()):
        rows = several(count, seed=seed)
        targets = indicated([as_set(labels) for _, labels in rows], names=names).values
        columns = {"text": [text for text, _ in rows], "label": as_arrow(targets), "row": list(range(count))}
        pq.write_table(pa.table(columns), root / f"{part}.parquet")


def write_numbers(root: Path) -> None:
    """Write rows with a number in thousands, by what they say and how long they are."""
    write_labelled(root)
    write_json(root / "labels.json", [])
    for part in ("train", "validation", "test"):
        table = pq.read_table(root / f"{part}.parquet")
        pairs = zip(table["label"].to_pylist(), table["text"].to_pylist(), strict=True)
        values = [4000.0 + 2000.0 * label + 10.0 * len(text) for label, text in pairs]
        pq.write_table(table.set_column(1, "label", pa.array(values)), root / f"{part}.parquet")


def write_grades(root: Path) -> None:
    """Write rows with one of three grades, by the words in them."""
    write_labelled(root)
    write_json(root / "labels.json", ["1", "2", "5"])
    for seed, (part, count) in enumerate({"train": 96, "validation": 40, "test": 40}.items()):
        worth = {"negative": 0.0, "neutral": 1.0, "positive": 2.0}
        rows = sentences(count, num_labels=3, seed=seed)
        columns = {"text": [text for text, _ in rows], "label": [worth[name] for _, name in rows]}
        pq.write_table(pa.table({**columns, "row": list(range(count))}), root / f"{part}.parquet")


@dataclass(frozen=True)
class Case:
    """How a kind is tried at tiny size."""

    write: Callable[[Path], None]
    baseline: BaselineSection
    prune: PruneSettings
    max_length: int


def by_loss(settings: PruneSettings) -> PruneSettings:
    return settings.model_copy(update={"recovery": settings.recovery.model_copy(update={"best_by": "loss"})})


CASES = {
    "classification": Case(write_labelled, BASELINE, by_loss(PRUNE), 16),
    "generation": Case(
        generation_chain.write_inputs, generation_chain.baseline_section(), by_loss(generation_chain.PRUNE_TEXT), 24
    ),
    "multi_label": Case(write_sets, BASELINE, by_loss(PRUNE), 16),
    "ordinal": Case(write_grades, BASELINE, by_loss(PRUNE), 16),
    "regression": Case(write_numbers, BASELINE, by_loss(PRUNE), 16),
    "rating": Case(write_rated, BASELINE, by_loss(PRUNE), 16),
}


@pytest.fixture(scope="module", params=sorted(CASES))
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path]:
    """Train, prune and evaluate a tiny model of the kind."""
    name, root = request.param, tmp_path_factory.mktemp(request.param)
    case, run = CASES[name], LABELLED.model_copy(update={"task": name})
    case.write(root)
    run_baseline(root, settings=case.baseline, run=run)
    run_round(root, "r1", "baseline", settings=case.prune, run=run)
    job = evaluate_job(root, ("baseline", "r1"))
    job.inputs["train"] = root / "train.parquet"  # type: ignore[index]
    settings = EVALUATE.model_copy(
        update={
            "generation": EVALUATE.generation.model_copy(update={"num_texts": 2, "max_tokens": 6, "num_samples": 1})
        }
    )
    evaluate.run(job, run=run, evaluate=settings, max_length=case.max_length)
    return kind_named(name), root


def rows_of(kind: Kind, root: Path) -> JudgedRows:
    columns = pq.read_table(root / "test.parquet", columns=["text", "label"]).to_pydict()
    names = tuple(json.loads((root / "labels.json").read_text()))
    return JudgedRows(columns["text"], np.asarray(columns["label"]), names, md5="")


def test_every_kind_is_in_the_suite() -> None:
    # An embedding model has no project yet: tests/integration/test_embeddings.py.
    assert sorted(KINDS) == sorted([*CASES, "embedding"])
    assert KINDS.names[:2] == ("classification", "embedding"), "ours come first"


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_schema_takes_what_a_kind_completes(name: str) -> None:
    config = parse_part(name, {})
    assert config.run.task == name
    assert list(kind_named(name).problems(config)) == []
    with pytest.raises(ConfigError, match=rf"best_by must be {kind_named(name).measure.name} or loss, found never"):
        parse_part(name, {"prune": {"recovery": {"best_by": "never"}}})


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_row_has_a_target_that_a_token_file_keeps(name: str, tmp_path: Path) -> None:
    kind = kind_named(name)
    labels = ["3", "1", "2", "3"] * 3
    targets = kind.targets(labels)
    assert len(targets.values) == len(targets.strata) == len(labels)
    assert (targets.values[:4] == targets.values[8:12]).all()
    assert targets.names in ([], ["1", "2", "3"])
    assert kind.label_sets == (targets.values.ndim == 2)


def test_the_kind_of_a_model_stands_in_its_card_and_can_be_told_without(done: tuple[Kind, Path]) -> None:
    kind, root = done
    for name in ("baseline", "r1"):
        folder = root / "models" / name
        assert Card.read(folder).task == kind.name
        assert kind_of_folder(folder, Card()) is kind
        assert [one.name for one in map(kind_named, KINDS) if one.claims(load(folder).config)] == [kind.name]


def test_training_makes_the_deciding_score_better_and_the_curve_has_its_columns(done: tuple[Kind, Path]) -> None:
    kind, root = done
    with (root / "baseline.csv").open(encoding="utf-8") as file:
        curve = list(csv.DictReader(file))
    columns = [f"validation_{name}" for name in ("loss", *kind.scores)]
    assert list(curve[0])[4:] == columns
    scores = [float(row[f"validation_{kind.measure.name}"]) for row in curve]
    best = Card.read(root / "models/baseline").metrics[f"validation_{kind.measure.name}"]
    assert kind.measure.is_better(best, scores[0]) or best == scores[0]
    assert not any(kind.measure.is_better(score, best) for score in scores)
    assert float(curve[-1]["validation_loss"]) < float(curve[0]["validation_loss"])


def test_rows_keep_their_kind_through_files_and_batches(done: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, root = done
    rows = read_tokens(root / "tokens" / TRAIN)
    assert rows.kind == rows.take([1, 0]).kind == kind.name
    write_tokens(rows, tmp_path / "again.arrow")
    assert (tmp_path / "again.arrow").read_bytes() == (root / "tokens" / TRAIN).read_bytes()
    assert next(batches_of(rows, batch_size=4, pad_token_id=0)).kind == kind.name


def test_a_loss_is_a_mean_and_no_distance_is_zero(done: tuple[Kind, Path]) -> None:
    kind, root = done
    model, rows = load(root / "models/baseline"), read_tokens(root / "tokens" / TRAIN)
    batch = next(batches_of(rows, batch_size=4, pad_token_id=0))
    with torch.no_grad():
        logits = outputs_of(model, batch, precision="fp32").logits.float()
    mean, total = (float(kind.loss(logits, batch.labels, reduction=how)) for how in ("mean", "sum"))
    count = total / mean
    assert mean > 0.0
    assert count == pytest.approx(round(count), rel=1e-4)
    assert round(count) >= len(batch.labels)
    flat = logits.reshape(-1, logits.shape[-1])
    assert float(kind.apart(flat, flat)) == pytest.approx(0.0, abs=1e-6)
    assert float(kind.apart(flat, flat.flip(0) + torch.linspace(0.0, 1.0, flat.shape[-1]) + 1.0)) > 0.0


def test_scores_hold_the_one_that_decides_and_are_the_same_again(done: tuple[Kind, Path]) -> None:
    kind, root = done
    model, rows = load(root / "models/r1"), read_tokens(root / "tokens/validation.arrow")
    found = validate(model, rows, batch_size=8, precision="fp32")
    assert tuple(found.values) == kind.scores
    assert found.quality == found.values[kind.measure.name]
    assert math.isfinite(found.loss)
    assert validate(model, rows, batch_size=8, precision="fp32") == found
    assert 0.0 <= kind.noise(400) <= kind.noise(100) < 1.0


def test_a_sweep_has_the_scores_of_the_kind_and_its_picture(done: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, root = done
    prepared = read_prepared_rows(root / "tokens")
    found = sweep(
        load(root / "models/baseline"),
        train=prepared.train,
        validation=prepared.validation,
        methods=["magnitude", "random"],
        kind="macs",
        fractions=[0.5, 0.8],
        settings=CASES[kind.name].prune,
        seed=0,
        precision="fp32",
    )
    values = {"kind": "macs", **found.as_dict()}
    assert values["measure"] == kind.measure.name
    assert len(values["points"]) == 4
    assert all({"loss", *kind.scores} <= set(point) for point in (values["dense"], *values["points"]))
    assert any(point["front"] for point in values["points"])
    draw_sweep(values, tmp_path / "sweep.svg")
    assert kind.measure.title in (tmp_path / "sweep.svg").read_text()


def test_every_model_is_evaluated(done: tuple[Kind, Path]) -> None:
    kind, root = done
    metrics = json.loads((root / "metrics.json").read_text())
    dense, pruned = metrics["baseline"], metrics["rounds"]["r1"]
    for entry in (dense, pruned):
        assert {"params", "nonembedding_params", "macs", "sparsity", "bytes", kind.measure.name} <= set(entry)
    assert pruned["macs"] < dense["macs"]
    assert isinstance(pruned["accepted"], bool)
    assert len(pq.read_table(root / "p.parquet")) == len(rows_of(kind, root).texts)
    assert (root / "quality.csv").read_text().splitlines()[0].startswith("model,params,macs,sparsity,")


def left_by_a_run(root: Path, folder: Path) -> Project:
    """Return a project in which a run of these models has just ended; the round counts as accepted."""
    metrics = json.loads((root / "metrics.json").read_text())
    metrics["rounds"]["r1"]["accepted"] = True
    for name, values in (("metrics", metrics), ("details", json.loads((root / "details.json").read_text()))):
        write_json(folder / "reports" / f"{name}.json", values)
    (folder / "models").symlink_to(root / "models")
    return Project(folder)


def report_data(root: Path, project: Project) -> ReportData:
    names, empty = ("baseline", "r1"), dict.fromkeys(("latency", "registered", "gate", "drift", "retrain"))
    histories = {}
    for name in names:
        with (root / f"{name}.csv").open(encoding="utf-8") as file:
            histories[name] = [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
    read = {name: json.loads((project.root / f"reports/{name}.json").read_text()) for name in ("metrics", "details")}
    cards = {name: Card.read(root / "models" / name) for name in names}
    return ReportData(title="", data={}, cards=cards, histories=histories, max_examples=1, **read, **empty)  # type: ignore[arg-type]


def others_words(kind: Kind) -> set[str]:
    """Return what only pages and tables of other kinds may say."""
    return {"macro-F1", "perplexity"} - {kind.measure.title}


def test_the_page_has_the_table_the_sections_and_the_words_of_the_kind(done: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, root = done
    data, shown, title = report_data(root, left_by_a_run(root, tmp_path)), kind.presentation(), kind.measure.title
    page, results = render(data), read_results(data)
    chosen = headline(results, data.details)
    sections = shown.sections(Evaluated(results, data.details, chosen.best))
    assert sections, "a kind has something of its own to show"
    for section in sections:
        assert page.count(f'id="{section.anchor}"') == 1, section.anchor
        assert page.count(f'<a href="#{section.anchor}">{section.title}</a>') == 1
    table = page[page.index('<table class="results">') : page.index("</table>")]
    assert shown.scores[0].name == kind.measure.name
    for score in shown.scores:
        assert f'<th scope="col">{score.title}' in table or score.name not in data.metrics["baseline"]
    for result in results:
        assert f"<td>{shown.scale.write(result.quality.value)}" in table
    assert f"of {title}" in chosen.sentence or f"{title}" in chosen.sentence
    assert any(figure.name.lower() == f"{title} on test".lower() for figure in chosen.figures)
    assert f"{title} on validation" in page and shown.words.loss in page
    assert ("up is better" in page) == kind.measure.higher_is_better
    assert ("down is better" in page) != kind.measure.higher_is_better
    assert not [word for word in others_words(kind) if word.lower() in page.lower()]
    assert "<off>" not in page, "what a kind brings is escaped"


def test_the_tables_at_the_end_of_a_run_are_those_of_the_kind(
    done: tuple[Kind, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, root = done
    monkeypatch.setenv("COLUMNS", "80")
    project, shown, score = left_by_a_run(root, tmp_path), kind.presentation(), kind.measure.name
    rows = comparison(project.root)
    printed = {}
    for wide in (False, True):
        run_summary(project, [], seconds=1.0, wide=wide, as_json=False)
        printed[wide] = capsys.readouterr().out
    narrow, wide_ = (printed[which] for which in (False, True))
    assert max(map(len, narrow.splitlines())) <= 80
    for row in rows:
        for text, name in ((narrow, f"deployed_{score}" if f"deployed_{score}" in row else score), (wide_, score)):
            of_model = [cells for line in text.splitlines() if (cells := line.split())[:1] == [row["model"]]]
            assert any(shown.scale.write_for_terminal(row[name]) in cells for cells in of_model), of_model
    columns = shown.columns(rows)
    assert columns, "a kind has columns"
    heads = next(line for line in wide_.splitlines() if line.startswith("model"))
    assert all(column.title in heads for column in columns)
    assert ("is better" in wide_) != kind.measure.higher_is_better, "a reader is told when less is more"
    assert not [word for word in others_words(kind) if word in narrow + wide_]


def test_registered_models_are_listed_and_compared_in_the_words_of_the_kind(
    done: tuple[Kind, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, root = done
    monkeypatch.setenv("COLUMNS", "80")
    shown, score = kind.presentation(), kind.measure.name
    metrics = numbers_of(json.loads((root / "metrics.json").read_text())["baseline"])
    version = RegisteredVersion("m", "1", (), created=0, run=None, metrics=metrics, tags=VersionTags({}))
    models_table([ListedModel("m", Aliases(), (version,))], wide=False)
    listed = " ".join(capsys.readouterr().out.split())
    value = shown.scale.write_for_terminal(metrics.get(f"deployed_{score}", metrics[score]))
    assert f" {value} {shown.symbol}".rstrip() in listed
    assert (f"{shown.symbol} = " if shown.symbol else "") + kind.measure.title in listed

    folder = root / "models/baseline"
    found = kind.compare_models({"a": folder, "b": folder}, rows_of(kind, root), num_threads=1, num_examples=2)
    named = {side: {"name": "m", "version": version} for side, version in (("a", "1"), ("b", "2"))}
    described = {**named, "task": kind.name, "metrics": {}, "test_rows": len(rows_of(kind, root).texts), **found}
    show_comparison(described, runtime="torch")
    compared = " ".join(capsys.readouterr().out.split())
    said = shown.compared(described, ("m 1", "m 2")).said
    assert said and " ".join(said.split()) in compared


def test_a_model_is_judged_alone_and_against_itself(done: tuple[Kind, Path]) -> None:
    kind, root = done
    latency = {"length": 8, "repeats": 3}
    config = parse_part(kind.name, {"promote": {"latency": latency, "robustness": {"rows": 0}}})
    folder, rows = root / "models/baseline", rows_of(kind, root)
    alone = kind.judge_models({"challenger": folder}, rows, config=config, root=root)
    both = kind.judge_models({"challenger": folder, "champion": folder}, rows, config=config, root=root)
    assert alone[0].name == both[0].name == "quality_floor"
    assert {condition.name for condition in alone} < {condition.name for condition in both}
    assert all(condition.reason for condition in both)
    assert next(condition for condition in both if condition.name == "quality_drop").passed
    compared = kind.compare_models({"a": folder, "b": folder}, rows, num_threads=1, num_examples=2)
    assert compared["scores"]["a"] == compared["scores"]["b"]


def test_an_answer_is_the_same_from_every_side(done: tuple[Kind, Path]) -> None:
    kind, root = done
    folder = root / "models/r1"
    asked = kind.askable(rows_of(kind, root).texts[:3])
    model = kind.open_model(folder)
    kind.warm_up(model, label="the model")
    assert model.max_length > 0
    answers = kind.answer_texts(model, asked, {**SMOKE} if kind.parameters else {})
    assert tuple(answers) == tuple(kind.columns)
    probed = kind.probe_model(folder, asked, parameters=SMOKE)
    assert [entry["label"] for entry in probed] == [str(said) for said in answers[next(iter(kind.columns))]]
    again = kind.answer_again(folder, test=root / "test.parquet", labels=root / "labels.json")
    assert len(again.per_row) == len(rows_of(kind, root).texts)
    assert f"{again.value:.4f}" in again.said


def test_rows_of_a_file_are_scored_and_answered(done: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, root = done
    rows, folder = rows_of(kind, root), root / "models/r1"
    if kind.label_sets:
        sets = [[name for name, has in zip(rows.names, row, strict=True) if has] for row in rows.labels.tolist()]
        labels = ["|".join(found) for found in sets]
    else:
        labels = [rows.names[int(label)] if rows.names else f"{label:g}" for label in rows.labels.tolist()]
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood"])
        writer.writerows(zip(range(len(labels)), rows.texts, labels, strict=True))
    joined = ("-S", "ingest.label_separator=|") if kind.label_sets else ()
    asked = ("--data", "rows.csv", "--label-column", "mood", "--by", "mood", *joined)
    found = json.loads(output(tmp_path, "evaluate", folder, *asked, "--json"))
    scores = [found["scores"], *(one["scores"] for one in found["slices"]["mood"].values())]
    assert found["rows"] == len(labels) == sum(one["rows"] for one in found["slices"]["mood"].values())
    for one in scores:
        assert kind.measure.name in one
        assert all(score["low"] <= score["value"] <= score["high"] for score in one.values())
    assert kind.measure.title in " ".join(output(tmp_path, "evaluate", folder, *asked).split())

    short = {"max_tokens": 3} if "max_tokens" in kind.parameters else {}
    chosen = [part for name, value in short.items() for part in ("-S", f"{name}={value}")]
    output(tmp_path, "predict", folder, "--data", "rows.csv", "--out", "out.jsonl", *chosen)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["text"]) for row in written] == [(str(row), text) for row, text in enumerate(rows.texts)]
    model = kind.open_model(folder)
    numbers = range(len(rows.texts))
    answers = kind.answer_rows(model, rows.texts, numbers=numbers, parameters=short).columns
    for name, values in answers.items():
        said = [row[f"predicted_{name}"] for row in written]
        assert said == (pytest.approx(values, abs=1e-5) if isinstance(values[0], float) else list(values))
    known = next(label for label in labels if label and "|" not in label)
    assert kind.unknown_labels(model, ["no such thing", known]) == ["no such thing"]


def test_what_computes_no_numbers_is_not_served(
    done: tuple[Kind, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, root = done
    model = load(root / "models/baseline")
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    from secateur.models.checkpoint import load_tokenizer

    card = Card.read(root / "models/baseline")
    save(model, load_tokenizer(root / "models/baseline"), tmp_path / "broken", card=card, check_reload=False)
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        kind.open_model(tmp_path / "broken")
    monkeypatch.setattr(construction, "check_finite", lambda *_: None)  # as a deployed form, whose weights nobody sees
    with pytest.raises(CheckFailed, match="the model"):
        kind.warm_up(kind.open_model(tmp_path / "broken"), label="the model")


def test_a_kind_of_another_package_is_listed_and_a_slip_is_seen() -> None:
    task = next(row for row in parameters() if row["name"] == "run.task")
    assert task["type"] == "classification | embedding | generation | multi_label | ordinal | regression | rating"
    with pytest.raises(ConfigError, match=r"run\.task: 'ratin' is no kind of task; did you mean rating\?"):
        parse_part("classification", {"run": {"task": "ratin"}})


def test_the_code_of_a_kind_is_part_of_the_stages_that_ask_it(site: Path, tmp_path: Path) -> None:
    def digests(source: str) -> dict[str, str]:
        (site / f"{SITE}.py").write_text(source, encoding="utf-8")
        code_lock._code_of.cache_clear()
        code = code_lock.code_of(Project(tmp_path), parse_part("rating", {}))
        assert f"{SITE}.py" in code["baseline"].files
        return {name: found.digest for name, found in code.items()}

    before = digests(TOY)
    try:
        assert digests(TOY.replace('"""A number for every text; the', '"""A number for each text; the')) == before
        loss = digests(TOY.replace("mse_loss(logits[:, 0], labels", "mse_loss(2 * logits[:, 0], labels"))
        gate = digests(TOY.replace('"no growth"', '"little growth"'))
    finally:
        digests(TOY)
        code_lock._code_of.cache_clear()
    changed = {name for name in before if loss[name] != before[name]}
    assert {"baseline", "prune"} <= changed
    assert not {"ingest", "clean"} & changed
    assert gate == before, "no stage asks for the conditions of the gate"

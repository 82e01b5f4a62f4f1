"""Rules from numbers to parameters: valid for every table, and asking for nothing that its rows cannot give."""

import random
from dataclasses import replace

import numpy as np
import pytest

from secateur.config.effective import effective
from secateur.config.prune import DEFAULT_ROUNDS
from secateur.config.schema import RunConfig
from secateur.data.splits import raised_share, split_rows
from secateur.data.survey import First, Lengths, Survey
from secateur.kinds.registry import kind_named
from secateur.scaffolding.gate_recipe import always_the_same
from secateur.scaffolding.params_text import Choice, nested, render
from secateur.scaffolding.parts import parts_of, told_apart
from secateur.scaffolding.recipe import Base, choices, unseen
from secateur.scaffolding.wish import by_name
from secateur.statistics.table_size import shortfalls
from secateur.workflow.params import assigned, flatten

NAMED = [
    Choice("ingest.source", "a: b #.csv"),
    Choice("ingest.text_column", "text"),
    Choice("ingest.label_column", "no"),
]
MINILM = Base(max_tokens=512, hidden_size=384)


def lengths(median: int) -> Lengths:
    return Lengths(max(1, median // 4), median, 3 * median, 9 * median)


def seen(rows: int, num_labels: int, *, chars: int = 80, script="Latin", skew: float = 0.0, estimate=False) -> Survey:
    shares = np.exp(-skew * np.arange(num_labels))
    counts = np.maximum(3, (rows * shares / shares.sum()).astype(int))
    tokens = lengths(max(2, chars // (1 if script != "Latin" else 4)))
    labels = {f"label {i}": int(count) for i, count in enumerate(counts)}
    return Survey(rows + 7, 2, 5, int(counts.sum()), labels, lengths(chars), tokens, 1.3, script, estimate)


def config_of(survey: Survey, *, base: Base = MINILM) -> RunConfig:
    found = choices(survey, base=base, kind=kind_named("classification"), first=First(survey.script, survey.chars))
    return assigned(render([*NAMED, *found]), [])[1]


def cleaned(survey: Survey, config: RunConfig) -> dict:
    """Return the report of a ``clean`` that leaves just these rows."""
    labels = np.repeat(np.arange(len(survey.labels)), list(survey.labels.values()))
    clean, num_rows = config.clean, len(labels)
    split = split_rows(
        labels,
        validation_fraction=raised_share(
            clean.validation_fraction, min_rows=clean.min_validation_rows, num_rows=num_rows
        ),
        test_fraction=raised_share(clean.test_fraction, min_rows=clean.min_test_rows, num_rows=num_rows),
        seed=0,
    )
    validation = min(len(split.validation), clean.max_validation_rows or len(split.validation))
    of_test = np.bincount(labels[split.test], minlength=len(survey.labels))
    return {
        "rows": {"kept": num_rows, "train": len(split.train), "validation": validation, "test": len(split.test)},
        "labels": {name: {"test": int(count)} for name, count in zip(survey.labels, of_test, strict=True)},
    }


def drawn(number: int) -> Survey:
    draw = random.Random(number)
    return seen(
        int(10 ** draw.uniform(1.5, 5.8)),
        draw.choice([2, 3, 4, 10, 40, 150]),
        chars=draw.choice([5, 10, 80, 300, 2000, 20_000]),
        script=draw.choice(["Latin", "Cyrillic", "Chinese or Japanese"]),
        skew=draw.choice([0.0, 0.1, 1.0]),
        estimate=draw.random() < 0.3,
    )


@pytest.mark.parametrize("number", range(120))
def test_what_is_chosen_is_valid_and_asks_for_nothing_that_the_rows_cannot_give(number: int) -> None:
    survey = drawn(number)
    config = config_of(survey)
    report = cleaned(survey, config)
    few = min(parts["test"] for parts in report["labels"].values())
    named = {line.partition("=")[0] for line in shortfalls(report, config)}
    assert named <= ({"promote.classes.min_rows"} if few < 10 else set()), shortfalls(report, config)
    assert config.baseline.max_length <= 512
    assert config.prune.latency.length <= config.baseline.max_length
    assert config.prune.calibration_rows <= report["rows"]["train"] or survey.is_estimate


@pytest.mark.parametrize(("rows", "num_labels"), [(200, 2), (600, 4), (5000, 2), (5000, 40), (50_000, 2), (600_000, 2)])
def test_steps_and_rows_of_tables_that_people_have(rows: int, num_labels: int) -> None:
    config = config_of(survey := seen(rows, num_labels))
    report = cleaned(survey, config)["rows"]
    baseline = config.baseline.settled(rows=report["train"], labels=num_labels)
    steps = max(baseline.least_steps, baseline.passes * report["train"] / baseline.batch_size)
    assert steps >= 300
    assert 32 * steps / num_labels >= 500, "every label is met often enough"
    assert report["validation"] >= min(400, rows // 5 - num_labels)
    assert min(500, rows // 5 - num_labels) <= report["test"] <= 5600
    assert 0.02 <= config.prune.budget.max_drop <= 0.06


def test_a_row_less_in_the_validation_rows_never_makes_a_promise_smaller() -> None:
    drops = [told_apart(rows) for rows in range(1, 2000)]
    assert drops == sorted(drops, reverse=True)
    assert all(np.ceil(0.1 / drop**2) <= rows for rows, drop in enumerate(drops, start=1) if drop < 1)


def test_long_texts_are_read_as_far_as_the_model_can() -> None:
    survey = seen(5000, 2, chars=2000)
    assert config_of(survey).baseline.max_length == 512
    assert config_of(survey, base=Base(128, 384)).baseline.max_length == 128
    assert config_of(seen(5000, 2, chars=10)).baseline.max_length == 16
    assert config_of(survey).clean.max_chars == 6000


def test_a_step_of_long_texts_has_fewer_of_them() -> None:
    config = config_of(seen(5000, 2, chars=2000))
    assert (config.baseline.batch_size, config.prune.recovery.batch_size) == (8, 8)
    config = config_of(seen(5000, 2, chars=200))
    assert (config.baseline.batch_size, config.prune.recovery.batch_size) == (32, 32)


def test_chinese_is_compared_by_fewer_characters() -> None:
    for chars, n in ((80, 3), (10, 2)):
        assert config_of(seen(600, 2, chars=chars, script="Chinese or Japanese")).clean.near_duplicate_chars == n
    assert config_of(seen(600, 2, script="Cyrillic")).clean.near_duplicate_chars == 5


def test_a_wide_model_or_one_that_is_not_here_learns_at_a_smaller_rate() -> None:
    rates = [config_of(seen(600, 2), base=base).baseline.learning_rate for base in (MINILM, Base(512, 768), Base())]
    assert rates == [1e-4, 5e-5, 5e-5]


@pytest.mark.parametrize(("task", "deployed"), [("classification", "onnx-int8"), ("generation", "onnx")])
def test_rows_that_are_not_here_get_floors_and_a_model_that_reads_less_gets_less(task, deployed) -> None:
    named = [choice for choice in NAMED if task == "classification" or "label" not in choice.name]
    config = assigned(render([*named, Choice("run.task", task), *unseen(kind_named(task), Base(64, 384))]), [])[1]
    assert (config.baseline.max_length, config.baseline.epochs, config.baseline.learning_rate) == (64, "auto", 1e-4)
    assert config.evaluate.deployed == config.register_.runtime == deployed


def test_a_table_with_many_empty_or_repeated_rows_may_come_again() -> None:
    odd = Survey(1000, 300, 660, 40, {"a": 20, "b": 20}, lengths(80), None, None, "Latin", False)
    quality = config_of(odd).retrain.quality
    assert quality.max_empty > 0.3 and quality.max_duplicates > 660 / 700


def test_the_floor_is_above_what_one_answer_for_all_gets() -> None:
    assert always_the_same({"a": 90, "b": 10}) == pytest.approx((2 * 0.9 / 1.9) / 2)
    assert config_of(seen(600, 2)).promote.min_macro_f1 > always_the_same({"a": 1, "b": 1})


def test_every_line_that_depends_on_the_rows_has_a_reason_and_the_file_is_a_page() -> None:
    for number in range(50):
        survey = drawn(number)
        found = choices(
            survey, base=Base(), kind=kind_named("classification"), first=First(survey.script, survey.chars)
        )
        assert all(choice.reason for choice in found)
        assert len({choice.name for choice in found}) == len(found)
        text = render([*NAMED, *found])
        assert len(text.splitlines()) <= 80
        assert max(map(len, text.splitlines())) <= 120
        config = assigned(text, [])[1]
        values = {entry.name: entry.value for entry in effective(config)}
        assert flatten(nested([*NAMED, *found])).items() <= values.items()


def test_a_split_counts_as_clean_will_make_it() -> None:
    survey = seen(1234, 7, skew=0.4)
    parts, report = parts_of(survey), cleaned(survey, config_of(survey))
    assert (parts.train, parts.validation, parts.test) == tuple(
        report["rows"][n] for n in ("train", "validation", "test")
    )
    assert parts.rarest == min(label["test"] for label in report["labels"].values())


def test_values_that_yaml_could_misread_stay_what_they_are() -> None:
    odd = ["no", "1e3", "a: b", "# x", "", "null", "C:", "päivä", "- a", "2024-01-01", "0x1F", ".inf", 'say "so"', "~"]
    found = [Choice(f"report.title{i}", value) for i, value in enumerate(odd)]
    from ruamel.yaml import YAML

    assert YAML(typ="safe").load(render(found)) == nested(found)


def test_parts_of_a_source_are_the_parameters_that_they_stand_for():
    assert by_name(["ingest.source={train: a.csv, test: b.csv}", "run.seed=1"]) == {
        "ingest.source": "ingest.source=a.csv",
        "ingest.test_source": "ingest.test_source=b.csv",
        "run.seed": "run.seed=1",
    }
    assert by_name(["ingest.source={a,b}.csv"]) == {"ingest.source": "ingest.source={a,b}.csv"}


def test_rows_that_were_given_take_nothing_from_those_that_train():
    table = seen(1000, 2)
    whole = parts_of(table)
    given = parts_of(replace(table, given={"validation": {"label 0": 30, "label 1": 20}, "test": {"label 0": 9}}))
    assert (given.validation, given.test, given.rarest) == (50, 9, 0)
    assert given.train == whole.train + whole.validation + whole.test


@pytest.mark.parametrize(("rows", "asked"), [(600, 0), (3610, 0), (60_000, "auto")])
def test_few_rows_do_not_say_which_words_may_go(rows: int, asked: int | str) -> None:
    assert config_of(seen(rows, 2)).prune.vocabulary_min_count == asked


def test_rounds_are_written_down_and_many_rows_get_a_student_to_look_at() -> None:
    few, many = (config_of(seen(rows, 2)).prune.rounds for rows in (600, 60_000))
    assert few == DEFAULT_ROUNDS
    assert {name: many[name] for name in few} == DEFAULT_ROUNDS
    assert (list(many), many["r4"].student, many["r4"].deploy, many["r4"].max_drop) == (
        [*few, "r4"],
        "static",
        False,
        0.04,
    )


def test_the_reasons_of_a_tiny_table_say_what_was_chosen_and_why() -> None:
    """They read like errors: ``min_validation_rows: 400  # 53 of 60 rows are left after cleaning: 10 validate``."""
    survey = seen(60, 2)
    found = choices(survey, base=MINILM, kind=kind_named("classification"), first=First(survey.script, survey.chars))
    reasons = {choice.name: choice.reason for choice in found}
    assert reasons["clean.min_validation_rows"] == "fewer here: a fifth of the 60 rows after cleaning is 12"
    assert reasons["clean.min_test_rows"] == "fewer here: a fifth of the 60 rows after cleaning is 12"
    assert reasons["prune.budget.max_drop"] == "a smaller loss of macro-F1 is chance on 12 validation rows"
    assert reasons["prune.vocabulary_min_count"].startswith("all words stay: 36 training rows are too few to say")
    assert reasons["prune.calibration_rows"].startswith("all training rows")
    assert reasons["promote.slices.max_drop"] == "may be lost to chance alone on 12 rows, as 0.06 on 100"
    many = seen(50_000, 2)
    found = choices(many, base=MINILM, kind=kind_named("classification"), first=First(many.script, many.chars))
    reasons = {choice.name: choice.reason for choice in found}
    assert reasons["clean.min_test_rows"] == "5000 of the 50000 rows after cleaning judge them"


def test_pairs_are_read_as_one() -> None:
    survey = replace(seen(600, 2, chars=80), tokens=None, together=lengths(160))
    found = choices(survey, base=MINILM, kind=kind_named("classification"), first=First("Latin", survey.chars))
    chosen = {choice.name: choice for choice in found}
    assert chosen["baseline.max_length"].reason.startswith("95 % of the pairs have at most 480 characters")
    alone = config_of(replace(survey, together=None)).baseline.max_length
    assert chosen["baseline.max_length"].value > 1.8 * alone

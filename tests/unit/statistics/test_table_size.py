import pytest

from secateur.config.prune import Budget
from secateur.config.schema import RunConfig
from secateur.data.profile import Profile
from secateur.data.quality import check_quality
from secateur.statistics.table_size import shortfalls
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.tiny import REPOSITORY

_LABELS = {"bad": {"train": 200, "validation": 60, "test": 59}, "good": {"train": 160, "validation": 60, "test": 61}}
_LARGE = {
    "rows": {"read": 40000, "kept": 28000, "train": 24000, "validation": 1500, "test": 2500},
    "labels": {name: {"train": 12000, "validation": 750, "test": 1250} for name in ("bad", "good")},
}


@pytest.fixture(scope="module")
def config() -> RunConfig:
    """Return the shipped parameters."""
    return read_config(Project(REPOSITORY))


def _table(kept: int, validation: int, test: int, labels=_LABELS) -> dict:
    rows = {"read": kept, "kept": kept, "train": kept - validation - test, "validation": validation, "test": test}
    return {"rows": rows, "labels": labels}


def test_a_large_table_lacks_nothing(config):
    assert shortfalls(_LARGE, config) == ()


def test_what_600_rows_cannot_give_is_told_with_a_value_that_works(config):
    found = shortfalls(_table(600, 120, 120), config)
    assert [line.partition(":")[0] for line in found] == [
        "promote.min_rows=500",
        "promote.max_drop=auto allows 0.072 against a champion",
        "prune.budget.max_drop=0.02",
        "promote.classes.min_rows=100",
        "evaluate.robustness.rows=256 and promote.robustness.rows=256",
    ]
    assert "there are 120 test rows, so that `secateur models promote` will hold every model" in found[0]
    assert "promote.min_rows=120 or less works" in found[0]
    assert found[1].endswith("120 test rows cannot show that less is lost; 1546, as many of each label, can show 0.02")
    assert "120 validation rows cannot tell such a loss from chance (one row is 0.008); 250 can" in found[2]
    assert found[2].endswith("or prune.budget.max_drop=0.03")
    assert "the labels bad (59), good (61), which have fewer test rows; promote.classes.min_rows=59 judges" in found[3]


def test_of_numbers_no_row_is_a_share_of_the_score(config):
    numbers = config.model_copy(update={"run": config.run.model_copy(update={"task": "regression"})})
    found = shortfalls(_table(600, 120, 120, labels={}), numbers)
    assert any(line.endswith("that less is lost; 1546 can show 0.02") for line in found)
    assert any("cannot tell such a loss from chance; 250 can" in line for line in found)


@pytest.mark.parametrize(
    ("asked", "held"),
    [(0.0, "every model; promote"), (0.01, "every model; 6183 can, promote"), (0.05, "47 of 100 models as good as")],
)
def test_a_gate_that_the_rows_cannot_pass_is_told_with_a_margin_that_they_can(config, asked, held):
    def of_gate(max_drop):
        promote = config.promote.model_copy(update={"max_drop": max_drop})
        found = shortfalls(_table(600, 120, 120), config.model_copy(update={"promote": promote}))
        return [line for line in found if line.startswith("promote.max_drop")]

    [said] = of_gate(asked)
    assert f"will hold {held}" in said
    assert said.endswith("promote.max_drop=0.072 or auto works")
    assert of_gate(0.072) == [] == of_gate("auto")


def test_values_that_are_named_work(config):
    table = _table(600, 42, 60)
    plain = config.prune.model_copy(update={"budget": Budget(macs=0.5)})
    said = "\n".join(shortfalls(table, config.model_copy(update={"prune": plain})))
    assert "prune.max_drop=0.03: 42 validation rows cannot tell" in said
    prune = config.prune.model_copy(update={"budget": Budget(max_drop=0.05)})
    classes = config.promote.classes.model_copy(update={"min_rows": 59})
    slices = config.promote.slices.model_copy(update={"min_rows": 60})
    robust = config.promote.robustness.model_copy(update={"rows": 60})
    promote = config.promote.model_copy(
        update={"min_rows": 60, "max_drop": "auto", "classes": classes, "slices": slices, "robustness": robust}
    )
    attacked = config.evaluate.robustness.model_copy(update={"rows": 60})
    evaluate = config.evaluate.model_copy(update={"robustness": attacked})
    mended = config.model_copy(update={"prune": prune, "promote": promote, "evaluate": evaluate})
    assert shortfalls(table, mended) == ()


def test_a_table_too_small_to_retrain_from_and_one_of_many_labels(config):
    few = {f"l{i}": {"train": 8, "validation": 2, "test": 2} for i in range(5)}
    found = "\n".join(shortfalls(_table(60, 12, 12, few), config))
    assert "retrain.quality.min_rows=100: there are 60 rows with a text and a label" in found
    assert "the labels l0 (2), l1 (2), l2 (2) and 2 more, which" in found
    assert "promote.slices.min_rows=100: there are 12 test rows" in found


@pytest.mark.parametrize("missing", [0, 20, 21, 330])
def test_what_retrain_would_hold_is_judged_on_the_rows_as_they_came(config, missing):
    """Cleaning takes copies, and retrain counts them; rows without a label it does not."""
    rules = [
        {"rule": "empty_text", "effect": "dropped", "rows": missing // 2, "examples": []},
        {"rule": "missing_label", "effect": "dropped", "rows": missing - missing // 2, "examples": []},
        {"rule": "exact_duplicates", "effect": "dropped", "rows": 20, "examples": []},
        {"rule": "empty_text (test_source)", "effect": "dropped", "rows": 3, "examples": []},
    ]
    table = _table(60, 12, 12) | {"rules": rules, "source": {"test": [{"file": "test.csv"}]}}
    table["rows"]["read"] = 400 + 12 + 3
    said = [line for line in shortfalls(table, config) if line.startswith("retrain.")]
    profile = Profile(rows=400, empty=missing, duplicates=20, labels={})
    held = [condition for condition in check_quality(profile, None, config.retrain.quality) if not condition.passed]
    assert [line.partition(":")[0] for line in said] == [one.asked.partition(" ")[0] for one in held]
    for line in said:
        name, value = line.rpartition("; retrain.quality.")[2].split(" ")[0].split("=")
        quality = config.retrain.quality.model_copy(update={name: float(value)})
        assert name not in str([one.asked for one in check_quality(profile, None, quality) if not one.passed])


def test_a_report_without_rows_has_nothing_to_say(config):
    assert shortfalls({}, config) == ()

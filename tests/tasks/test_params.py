"""params.yaml under -S and --params: validated first, comments kept, nothing lost."""

import shutil
from pathlib import Path

import pytest

from secateur.errors import ConfigError
from secateur.workflow.params import flatten, propose, read_config
from secateur.workflow.project import Project

SHIPPED = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path: Path) -> Project:
    shutil.copy(SHIPPED, tmp_path / "params.yaml")
    return Project(tmp_path)


def test_an_override_changes_one_line_and_keeps_the_comments(workspace: Project) -> None:
    before = workspace.params_file.read_text()
    change = propose(workspace, file=None, overrides=["clean.min_test_rows=7"])
    assert workspace.params_file.read_text() == before, "nothing is written before `apply`"
    assert change.apply(workspace)
    after = workspace.params_file.read_text()
    differing = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    assert [b.split("#")[0].strip() for _, b in differing] == ["min_test_rows: 7"]
    assert read_config(workspace).clean.min_test_rows == 7
    kept = list((workspace.state / "params").iterdir())
    assert [path.read_text() for path in kept] == [before]


def test_a_format_of_dates_is_given_as_messages_write_it(workspace: Project) -> None:
    """No text of YAML may begin with a percent sign."""
    given = ["ingest.time_column=written", "ingest.time_format=%d/%m/%Y"]
    assert propose(workspace, file=None, overrides=given).config.ingest.time_format == "%d/%m/%Y"


def test_an_override_adds_what_the_file_does_not_name_and_nothing_else(workspace: Project) -> None:
    before = workspace.params_file.read_text()
    assert "min_chars" not in before
    change = propose(workspace, file=None, overrides=["clean.min_chars=7"])
    added = set(change.after.splitlines()) - set(before.splitlines())
    assert [line.strip() for line in added] == ["min_chars: 7"]
    assert change.config.clean.min_chars == 7


def test_naming_a_budget_replaces_the_other(workspace: Project) -> None:
    change = propose(workspace, file=None, overrides=["prune.budget.params=0.5"])
    assert (change.config.prune.budget.kind, change.config.prune.budget.fraction) == ("params", 0.5)


def test_the_price_of_a_promise_goes_with_it(workspace: Project) -> None:
    counted = propose(workspace, file=None, overrides=["prune.budget.price=macs"]).config.prune.budget
    assert (counted.max_drop, counted.kind) == (0.02, "macs")
    replaced = propose(workspace, file=None, overrides=["prune.budget.latency=0.5"]).config.prune.budget
    assert (replaced.max_drop, replaced.price, replaced.kind) == (None, None, "latency")


def test_a_round_can_be_added(workspace: Project) -> None:
    change = propose(workspace, file=None, overrides=["prune.rounds.r4.prev=r3"])
    assert list(change.config.prune.rounds) == ["r1", "r2", "r3", "r4"]


def test_a_file_replaces_all_parameters(workspace: Project, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SHIPPED.read_text().replace("seed: 0", "seed: 5"))
    assert propose(workspace, file=other, overrides=[]).config.run.seed == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clean.min_chars", "expected section.key=value"),
        ("seed=1", "expected section.key=value"),
        ("nowhere.key=1", "nowhere is not a section of params.yaml"),
        ("clean.nothing=1", "clean.nothing is not a known parameter"),
        ("clean.min_chars=[", "the value is not valid YAML"),
        ("clean.min_chars=2024-02-30", "the value is not valid YAML"),
        ("prune.budget.macs=7", "prune.budget.macs"),
        ("clean.min_char=3", "clean.min_char is not a known parameter; did you mean clean.min_chars? `secateur doctor"),
        ("prune.recovery.epoch=3", "did you mean prune.recovery.epochs?"),
        ("prune.epochs=3", "did you mean prune.recovery.epochs or "),
        ("clear.min_chars=3", "clear is not a section of params.yaml; did you mean clean.min_chars?"),
        ("criterion=obs", "expected section.key=value; did you mean prune.criterion?"),
        ("prune.budget.mac=0.5", "did you mean prune.budget.macs?"),
        ("prune.rounds.r1.budgets=0.5", "did you mean prune.rounds.r1.budget?"),
    ],
)
def test_refuses_what_it_does_not_understand(workspace: Project, override: str, message: str) -> None:
    before = workspace.params_file.read_text()
    with pytest.raises(ConfigError) as caught:
        propose(workspace, file=None, overrides=[override])
    assert message in str(caught.value)
    assert workspace.params_file.read_text() == before


def test_a_name_that_is_spelled_wrongly_in_the_file_is_named_and_not_the_one_that_is_missing(
    workspace: Project, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("prune:\n  max_dorp: 0.1\n")
    with pytest.raises(ConfigError, match=r"^prune\.max_dorp is not a known parameter; did you mean prune\.max_drop\?"):
        propose(workspace, file=other, overrides=[])


def test_a_missing_or_broken_file_is_one_line(workspace: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        propose(workspace, file=tmp_path / "none.yaml", overrides=[])
    broken = tmp_path / "broken.yaml"
    broken.write_text("run: [\n")
    with pytest.raises(ConfigError, match=r"broken.yaml is not valid YAML at line \d"):
        propose(workspace, file=broken, overrides=[])
    for num_brackets in (20_000, 200_000):
        broken.write_text("run:\n  seed: " + "[" * num_brackets + "]" * num_brackets)
        with pytest.raises(ConfigError, match=r"^broken.yaml is nested deeper than 100 levels at line 2$"):
            propose(workspace, file=broken, overrides=[])
    broken.write_text("run:\n  seed: 2024-02-30\n")
    with pytest.raises(ConfigError, match=r"^broken.yaml is not valid YAML: day is out of range for month"):
        propose(workspace, file=broken, overrides=[])
    with pytest.raises(ConfigError, match="the value is not valid YAML"):
        propose(workspace, file=None, overrides=["run.seed=" + "[" * 200_000])


def test_flatten_gives_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1]}}}) == {"a.b": 1, "a.c.d": [1]}


def test_an_override_reaches_what_the_file_leaves_to_its_default(workspace: Project) -> None:
    workspace.params_file.write_text("ingest: {source: rows.csv, label_column: label}\n")
    asked = ["prune.latency.length=64", "prune.rounds.r3.epochs=2.0", "prune.budget.price=macs"]
    config = propose(workspace, file=None, overrides=asked).config
    assert (config.prune.latency.length, config.prune.latency.batch) == (64, 1)
    assert [entry.epochs for entry in config.prune.rounds.values()] == [0.4, None, 2.0]
    assert (config.prune.budget.max_drop, config.prune.budget.price) == (0.02, "macs")
    change = propose(workspace, file=None, overrides=["prune.rounds.r4.prev=r3"])
    epochs = {name: entry.epochs for name, entry in change.config.prune.rounds.items()}
    assert epochs == {"r1": 0.4, "r2": None, "r3": 1.3, "r4": None}
    assert "null" not in change.after, "what a round does not say is not written"
    with pytest.raises(ConfigError, match="is not a section"):
        propose(workspace, file=None, overrides=["prune.nothing.length=64"])

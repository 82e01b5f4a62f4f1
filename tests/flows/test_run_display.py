"""The end of a run as somebody reads it in 80 columns."""

import json
from pathlib import Path

import pytest

from secateur.cli.run_display import run_summary
from secateur.models.card import Card
from secateur.report.results import ReportData
from secateur.workflow.outcome import Outcome
from secateur.workflow.project import Project
from tests.unit.report.run_fixture import measured_run, report_data, rolled_back
from tests.unit.report.text_fixture import text_report_data

OUTCOMES = [Outcome("prune@r1", "run", "0123456789abcdef", 61.0), Outcome("report", "cached", "fedcba9876543210", 0.0)]


def written(root: Path, data: ReportData) -> Project:
    """Write what a run leaves behind, as far as the terminal reads it."""
    (root / "reports").mkdir()
    for name in ("metrics", "details", "latency"):
        (root / "reports" / f"{name}.json").write_text(json.dumps(getattr(data, name)), encoding="utf-8")
    for name, card in data.cards.items():
        folder = root / "models" / name
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps(card.as_json()), encoding="utf-8")
    return Project(root)


def printed(root: Path, data: ReportData, capsys: pytest.CaptureFixture[str], *, wide: bool = False) -> str:
    run_summary(written(root, data), OUTCOMES, seconds=62.0, wide=wide, as_json=False)
    return capsys.readouterr().out.replace("\u00a0", " ").replace("\u202f", " ")


def row(said: str, model: str) -> list[str]:
    """Return the cells of a model's row, in words."""
    return next(cells for line in said.splitlines() if (cells := line.split())[:1] == [model] and "MB" in cells)


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_table_fits_80_columns_and_holds_what_decides(tmp_path, capsys):
    said = printed(tmp_path, measured_run(), capsys)
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said, "no cell is cut"
    cells = row(said, "r3")
    assert cells == ["r3", "0.7780", "0.762", "to", "0.794", "1.17", "ms", "9.3x", "23.4", "MB", "accepted"]
    assert "Deployed in ONNX int8, on 2 861 test rows" in said
    assert "against dense in PyTorch (10.83 ms)" in " ".join(said.split())


def test_a_round_is_called_by_what_it_promises(tmp_path, capsys):
    data = measured_run()
    for name, drop in {"r1": 0.005, "r2": 0.01, "r3": 0.02}.items():
        data.cards[name] = Card.of({**data.cards[name].as_json(), "asked": {"max_drop": drop}})
    said = printed(tmp_path, data, capsys)
    assert max(map(len, said.splitlines())) <= 80
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("r") and "MB" in line] == [
        ["r1", "≤0.5"],
        ["r2", "≤1"],
        ["r3", "≤2"],
    ]
    assert "r1 ≤0.5: may lose at most 0.5 points of macro-F1 on validation" in " ".join(said.split())


def test_the_first_sentence_is_that_of_the_report(tmp_path, capsys):
    said = " ".join(printed(tmp_path, measured_run(), capsys).split())
    assert "r3 in ONNX int8 is 9.3× as fast as dense in PyTorch" in said
    assert said.index("r3 in ONNX int8") < said.index("Deployed in")
    assert "125 test rows lost, 79 won" in said


def test_a_rolled_back_round_shows_its_own_numbers_and_a_skipped_one_none(tmp_path, capsys):
    data = measured_run()
    changes = rolled_back("r2", "r3")
    tried = {**data.metrics["rounds"]["r2"], "accepted": False, "deployed_macro_f1": 0.6543}
    data.metrics["rounds"].update(r2=tried, r3={"accepted": False})
    data.cards.update({name: Card.of(changes["cards"][name]) for name in ("r2", "r3")})
    said = printed(tmp_path, data, capsys)
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip().startswith("r")}
    assert (lines["r2"][0], lines["r2"][-2:]) == ("0.6543", ["rolled", "back"])
    assert lines["r3"] == ["not", "run"]
    assert "a rolled-back round shows what it tried" in " ".join(said.split())


def test_without_an_accepted_round_the_first_sentence_says_so(tmp_path, capsys):
    said = " ".join(printed(tmp_path, report_data(**rolled_back("r1", "r2", "r3")), capsys).split())
    assert said.index("No round was accepted, so the dense model stays") < said.index("Deployed in")
    assert "(prune.budget.macs)" in said and "(prune.max_drop, now 0.03)" in said


def test_wide_shows_every_column_in_one_line_each(tmp_path, capsys):
    said = printed(tmp_path, measured_run(), capsys, wide=True)
    cells = row(said, "r3")
    for value in ("0.7840", "0.8092", "0.6342", "1.17", "2.57", "5.71"):
        assert value in cells


def test_a_generator_s_table_fits_too(tmp_path, capsys):
    said = printed(tmp_path, text_report_data(), capsys)
    assert max(map(len, said.splitlines())) <= 80
    cells = row(said, "r3")
    assert cells[:7] == ["r3", "39.87", "38.77", "to", "40.97", "1.80", "ms"]

"""``secateur prune`` without training: every criterion with every regulariser and granularity."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from secateur.config.criteria import CRITERIA
from secateur.config.prune import Granularity
from secateur.config.regularizers import NONE, REGULARIZERS
from secateur.errors import ConfigError
from secateur.models.checkpoint import load, load_base, load_tokenizer, save
from tests.integration.in_process import output, refused
from tests.tiny import write_bert, write_rows

NAMES = ["negative", "positive"]
QUICK = ("-S", "calibration_rows=16", "-S", "search_trials=0", "-S", "ffn_multiple=8", "--threads", "1")
ONLY = {
    "structures": {"obs", "fisher", "fluctuation", "group_lasso"},
    "weights": {"wanda", "sparsegpt"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("home")
    base = write_bert(root / "base")
    torch.manual_seed(0)
    model, tokenizer = load_base(base, labels=NAMES), load_tokenizer(base)
    save(model, tokenizer, root / "ours", card={"labels": NAMES, "max_length": 16}, check_reload=False)
    write_rows(root / "rows.csv", 40)
    return root


@pytest.fixture(autouse=True)
def _without_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)


def combinations() -> list[tuple[str, str, str]]:
    """Every criterion on both granularities, the regularisers in turn; and every regulariser with every other."""
    kinds, criteria = (NONE, *REGULARIZERS.names), CRITERIA.names
    turns = [(name, kinds[i % len(kinds)], where) for i, name in enumerate(criteria) for where in get_args(Granularity)]
    crossed = [(name, kind, "structures") for name in ("l1", "l2", "group_lasso") for kind in kinds]
    return list(dict.fromkeys([*turns, *crossed, *(("magnitude", kind, "weights") for kind in kinds)]))


@pytest.mark.parametrize(("criterion", "regularizer", "granularity"), combinations())
def test_every_combination_works_or_is_refused(
    home: Path, tmp_path: Path, criterion: str, regularizer: str, granularity: str
) -> None:
    asked = ["prune", "ours", "--data", "rows.csv", "--out", tmp_path / "out", "--criterion", criterion, *QUICK]
    asked += ["-S", f"regularizer={regularizer}", "-S", f"granularity={granularity}", "--sparsity", "0.5"]
    if criterion == "fixed_weight":
        preset = "weights" if granularity == "weights" else "heads"
        names = {"weights": "{layers.*: 1}", "heads": "{layers.*.heads: 1, layers.*.ffn: 1}"}
        asked += ["-S", f"multipliers={names[preset]}"]
    other = "structures" if granularity == "weights" else "weights"
    if criterion in ONLY[other]:
        error = refused(home, *asked)
        assert isinstance(error, ConfigError)
        assert f"criterion {criterion} is for granularity {other}, found granularity {granularity}" in str(error)
        assert not (tmp_path / "out").exists()
        return
    found = json.loads(output(home, *asked, "--json"))
    assert found["achieved"]["sparsity"] >= 0.5
    assert bool(load(tmp_path / "out")(input_ids=torch.tensor([[2, 7, 9, 3]])).logits.isfinite().all())

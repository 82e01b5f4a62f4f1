"""The sections that criteria bring, the names that their settings had before, and what a round is given."""

import subprocess
import sys
from typing import Any

import pytest

from secateur.config.criteria import CRITERIA
from secateur.config.effective import effective, is_named
from secateur.config.one_shot import one_shot_settings
from secateur.config.prune import PruneSection
from secateur.config.schema import parse_config
from secateur.errors import ConfigError


def prune_of(**given: Any) -> PruneSection:
    return parse_config({"ingest": {"source": "-", "label_column": "-"}, "prune": given}).prune


@pytest.mark.parametrize("name", CRITERIA.names)
def test_a_criterion_says_what_it_is(name: str) -> None:
    criterion = CRITERIA[name]
    assert criterion.name == name
    assert criterion.source
    assert 0 < len(criterion.summary) <= 64
    assert "\n" not in criterion.summary
    assert criterion.scores
    assert criterion.settings() is not None, "every setting has a default"
    assert [field for field, info in criterion.settings.model_fields.items() if not info.description] == []


def test_ours_are_known_without_torch() -> None:
    code = (
        "import sys; from secateur.config.criteria import CRITERIA, _OWN; [CRITERIA[name] for name in _OWN]; "
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_round_is_given_the_settings_of_its_criterion_and_no_others() -> None:
    given = prune_of(criterion="magnitude", criteria={"magnitude": {"norm": "lamp"}, "gradient": {"score": "snip"}})
    assert given.own.model_dump() == {"norm": "lamp"}
    assert given.shared().own == given.own
    assert given.shared().model_dump()["criteria"] == {"magnitude": {"norm": "lamp"}}
    assert prune_of(criterion="random").shared().model_dump()["criteria"] == {}


def test_a_former_name_counts_for_every_criterion_that_had_it() -> None:
    given = prune_of(criterion="magnitude", norm="lamp", gradient_score="snip", search_trials=7)
    assert given.own.model_dump() == {"norm": "lamp"}
    shown = given.model_dump()["criteria"]
    assert {name: shown[name] for name in ("fixed_weight", "gradient", "obs")} == {
        "fixed_weight": {"norm": "lamp"},
        "gradient": {"score": "snip"},
        "obs": {"search_trials": 7},
    }
    assert given.shared().model_dump()["criteria"] == {"magnitude": {"norm": "lamp"}}
    assert "norm" not in given.shared().model_dump()


def test_a_former_name_is_what_the_file_names() -> None:
    # DVC reads the file by these names: the section that the schema fills is not in it.
    config = parse_config({"ingest": {"source": "-", "label_column": "-"}, "prune": {"norm": "lamp"}})
    assert is_named(config, "prune.norm")
    assert not is_named(config, "prune.criteria")
    rows = {row.name: row for row in effective(config)}
    assert (rows["prune.norm"].value, rows["prune.norm"].origin) == ("lamp", "params.yaml")
    new = rows["prune.criteria.magnitude.norm"]
    assert (new.value, new.default, new.origin) == ("lamp", "l2", "params.yaml")
    assert "prune.gradient_score" not in rows


def test_both_names_may_say_the_same() -> None:
    assert prune_of(criterion="magnitude", norm="l1", criteria={"magnitude": {"norm": "l1"}}).own.model_dump() == {
        "norm": "l1"
    }


def test_without_a_project_both_names_work() -> None:
    assert one_shot_settings({}).own.model_dump() == {"search_trials": 40}
    for name in ("search_trials", "criteria.obs.search_trials"):
        assert one_shot_settings({name: 3}).own.model_dump() == {"search_trials": 3}
    assert one_shot_settings(
        {"criterion": "fixed_weight", "norm": "l1", "multipliers": {"layers.*": 1}}
    ).own.model_dump() == {"norm": "l1"}
    for name in ("criterion.norm", "criteria.obs.search_trials.x", "recovry.epochs"):
        with pytest.raises(ConfigError, match=f"^{name} is no setting of pruning"):
            one_shot_settings({name: 1})
    with pytest.raises(ConfigError, match=r"^criteria\.obs\.trials is not a known parameter"):
        one_shot_settings({"criteria.obs.trials": 1})

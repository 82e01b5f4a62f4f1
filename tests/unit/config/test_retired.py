"""Parameters of earlier versions: accepted, left out, named; refused where they ask for what is gone."""

import logging

import pytest
from ruamel.yaml.comments import CommentedMap

from secateur.config import retired
from secateur.config.retired import RETIRED, Retired, without_retired
from secateur.config.schema import parse_config
from secateur.errors import ConfigError
from secateur.workflow.params import flatten

CHOSEN = {"ingest": {"source": "rows.csv", "label_column": "label"}}


def _nested(name: str, value: object) -> dict:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize("name", RETIRED)
def test_what_is_retired_is_no_parameter_and_is_named_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    neutral = RETIRED[name].neutral
    config = parse_config({**CHOSEN, **_nested(name, 0.01 if neutral is None else neutral[0])})
    assert name not in flatten(config.model_dump(by_alias=True))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{name} has no effect any more: ")
    assert "\n" not in record.getMessage()


def test_what_was_read_is_left_as_it_was() -> None:
    values = CommentedMap(promote=CommentedMap(significance=CommentedMap(level=0.1, max_drop=0.01)))
    assert without_retired(values) == {"promote": {"significance": {"level": 0.1}}}
    assert values["promote"]["significance"]["max_drop"] == 0.01
    assert without_retired({"promote": None, "run": {"seed": 1}}) == {"promote": None, "run": {"seed": 1}}


def test_a_value_whose_effect_is_gone_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retired, "RETIRED", {"run.magic": Retired("there is none", neutral=(0, 0.0))})
    assert without_retired({"run": {"magic": 0.0, "seed": 1}}) == {"run": {"seed": 1}}
    with pytest.raises(ConfigError, match=r"^run\.magic=0\.5: there is none; leave it out$"):
        without_retired({"run": {"magic": 0.5}})

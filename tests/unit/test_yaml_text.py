from pathlib import Path

import pytest
from ruamel.yaml.error import YAMLError

from secateur.errors import ModelError
from secateur.registry.lock import stages_of
from secateur.registry.model_description import folders_of
from secateur.yaml_text import read_yaml

DEEP = {
    "brackets": "a: " + "[" * 200_000 + "]" * 200_000,
    "braces": "{a: " * 20_000 + "1" + "}" * 20_000,
    "dashes": "- " * 200_000 + "a",
    "keys": "? " * 20_000 + "a",
}


@pytest.mark.parametrize("case", DEEP)
def test_what_is_nested_too_deep_ends_no_process(case: str, tmp_path: Path) -> None:
    """libyaml and Python both recurse: 200 000 brackets in the registry would end every reader without a word."""
    with pytest.raises(YAMLError):
        read_yaml(DEEP[case])
    assert stages_of(DEEP[case]) == {}
    with pytest.raises(ModelError, match="was not registered by secateur"):
        folders_of(DEEP[case].encode(), where=tmp_path, named="tiny version 1")


@pytest.mark.parametrize("text", ["a: 2024-02-30", "a: !!int x", "a: !!float x"])
def test_a_value_that_there_is_not_is_no_yaml(text: str) -> None:
    with pytest.raises(YAMLError):
        read_yaml(text)
    assert stages_of(text) == {}


def test_what_is_not_too_deep_is_read() -> None:
    assert read_yaml("a: [[{b: 1}]]\nc: 2:4") == {"a": [[{"b": 1}]], "c": "2:4"}
    assert read_yaml("") is None
    assert stages_of("stages: 3") == {} == stages_of(None)
    assert stages_of("stages: {clean: {}}") == {"clean": {}}

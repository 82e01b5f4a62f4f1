"""YAML that somebody else may have written: read without recursing as deep as it asks for."""

from contextlib import suppress
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

_MAX_DEPTH = 100
TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels"
"""What is said of it."""


def read_yaml(text: str) -> Any:
    """Return the values of a text.

    Raises:
        YAMLError: it is not YAML, is nested too deep, or holds a value that there is not.
    """
    require_shallow(text)
    try:
        return YAML(typ="safe").load(text)
    except ValueError as error:  # a 30th of February, or a tag that its value does not fit
        raise YAMLError(str(error)) from error


def require_shallow(text: str) -> None:
    """Refuse a text that is nested too deep: 20 000 brackets end a reader by an error of Python, 200 000 the process.

    Raises:
        YAMLError: it is. What is no YAML is for a reader to say.
    """
    mark = _where_too_deep(text)
    if mark is not None:
        raise MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)


def _where_too_deep(text: str) -> Any:
    depth = 0
    with suppress(YAMLError):
        for event in YAML(typ="safe").parse(text):
            if isinstance(event, CollectionStartEvent):
                depth += 1
            elif isinstance(event, CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                return event.start_mark
    return None

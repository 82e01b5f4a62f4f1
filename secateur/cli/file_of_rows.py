"""How a file that a command is given is written: the parameters of ``ingest`` that say so, by ``-S``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateur.errors import ConfigError, DataError

if TYPE_CHECKING:
    from secateur.readers.reading import Reading

INGEST = "ingest."
_WRITTEN = (
    *("format", "encoding", "delimiter", "header", "quotes", "escapes", "bad_rows", "sheet", "query"),
    "label_separator",
    "class_names",
)


def reading_by(
    overrides: Mapping[str, Any], *, text_columns: Sequence[str], label_columns: Sequence[str], command: str
) -> "Reading":
    """Return how a file is read.

    Args:
        overrides: names of params.yaml -> values; those outside of ``ingest`` are somebody else's.
        text_columns: of the file: one, or the two of pairs.
        label_columns: of the labels: one, or one for each; none where there are no labels.
        command: that takes them.

    Raises:
        ConfigError: one does not say how a file is written, or has no such value.
    """
    from dataclasses import replace

    from secateur.config.part import parse_part
    from secateur.kinds.registry import SEVERAL
    from secateur.readers.reading import reading_of

    said = {name.removeprefix(INGEST): value for name, value in overrides.items() if name.startswith(INGEST)}
    if unknown := [name for name in said if name not in _WRITTEN]:
        raise ConfigError(f"-S {INGEST}{unknown[0]}: of ingest, {command} takes {', '.join(_WRITTEN)}")
    # The schema wants some label; one that is none of the columns stands for none.
    columns = {"text_column": [*text_columns], "label_column": [*label_columns] or f"{text_columns[0]}?"}
    reading = reading_of(parse_part(SEVERAL, {"ingest": {**said, **columns}}).ingest)
    return reading if label_columns else replace(reading, columns=replace(reading.columns, label=None))


@contextmanager
def naming_options(*, texts: Sequence[str], labels: Sequence[str] = ()) -> Iterator[None]:
    """Say by which option another column is named, where a file has not one of these."""
    from secateur.readers.layout import MissingColumn

    try:
        yield
    except MissingColumn as error:
        option = "--text-column" if error.column in texts else "--label-column" if error.column in labels else None
        if option is None:
            raise
        raise DataError(f"{error}; {option} names another one") from error


def read_overrides(given: Sequence[str], *, example: str = "ingest.encoding=cp1252") -> dict[str, Any]:
    """Read ``key=value`` pairs by the rules of params.yaml.

    Raises:
        ConfigError: one is no such pair, or its value is not YAML.
    """
    from secateur.workflow.params import read_override

    return dict(read_override(override, form=f"key=value, e.g. -S {example}") for override in given)


def ingest_overrides(given: Sequence[str], *, command: str) -> dict[str, Any]:
    """Read those that say how a file is written.

    Raises:
        ConfigError: as ``read_overrides``; or one is of something else.
    """
    found = read_overrides(given)
    if others := [name for name in found if not name.startswith(INGEST)]:
        raise ConfigError(f"-S {others[0]}: {command} takes {', '.join(INGEST + name for name in _WRITTEN)}")
    return found

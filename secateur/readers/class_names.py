"""Names of classes that a file declares beside the numbers of its labels, as the library ``datasets`` writes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from secateur.errors import DataError
from secateur.readers.label_sets import counted, renamed
from secateur.readers.layout import Columns

_DATASETS = b"huggingface"
"""Under which ``datasets`` describes the columns in the metadata of a Parquet file."""
_NONE = "-1"
"""What it writes for a row without a label."""
_MAX_NAMED = 4


def declared_classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return column -> names of its classes in the order of their numbers; of what is not written so nothing.

    Args:
        metadata: of the schema.
    """
    try:
        features = json.loads((metadata or {}).get(_DATASETS, b"{}"))["info"]["features"]
        return {str(column): names for column, feature in features.items() if (names := _names_in(feature))}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _names_in(feature: Mapping[str, Any]) -> list[str]:
    """Return the names of a column of classes, or of lists of them; none where it is neither."""
    inner = feature if feature.get("_type") == "ClassLabel" else feature.get("feature")
    if not isinstance(inner, Mapping) or inner.get("_type") != "ClassLabel":
        return []
    return [str(name) for name in inner.get("names") or ()]


def named_labels(labels: pa.Array, names: Sequence[str], *, columns: Columns, asked: bool) -> tuple[pa.Array, str]:
    """Return labels that are numbers by their names, where that is asked, and what a person should know.

    Args:
        labels: as ``label_cells.labels_of`` returns them.
        names: of the classes.
        columns: of the labels.
        asked: whether they become names; -1 becomes null.

    Raises:
        DataError: a number has no name.
    """
    classes = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:_MAX_NAMED]))
    which = classes + (", ..." if len(names) > _MAX_NAMED else "")
    if not asked:
        return labels, f"has names for the numbers in {columns.label!r} ({which}): ingest.class_names=true takes them"
    encoded, spelling = pc.dictionary_encode(labels), by_number(names)
    distinct = encoded.dictionary.to_pylist()
    if unknown := sorted(set(counted(distinct)) - set(spelling)):
        raise DataError(
            f"label column {columns.label!r} holds {unknown[0]}, and the file names classes 0 to {len(names) - 1}; "
            "ingest.class_names=false takes the numbers"
        )
    found = pa.array([renamed(label, spelling, sets=columns.sets) for label in distinct], pa.string())
    return found.take(encoded.indices), f"names the numbers in {columns.label!r}, and the names are taken: {which}"


def by_number(names: Sequence[str]) -> dict[str, str | None]:
    """Return number as a label is spelled -> name of the class."""
    return {_NONE: None, **{str(number): name for number, name in enumerate(names)}}

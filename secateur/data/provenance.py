"""The record that stands beside a copied source: where it came from, and how it is to be read."""

import json
from pathlib import Path
from typing import Any

from secateur.errors import DataError

PROVENANCE = "provenance.json"


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return the record of a folder that ``acquisition.copy_rows`` wrote.

    Raises:
        DataError: the folder has no record.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise DataError(f"{folder.name} has no {PROVENANCE}; it was not written by the stage ingest: run it again")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record

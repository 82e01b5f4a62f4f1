"""What MLflow loads a version with, wherever secateur is installed: ``MLmodel`` names this module, and stores no code.

Versions of before 0.4 have a script beside them, which MLflow runs; ``model_description`` knows those by their digests.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import CARD, Card
from secateur.registry.model_description import folders_of


class RegisteredModel:
    """Works on strings: a list, a data frame with a ``text`` column, or a single string; of pairs on two columns."""

    def __init__(self, folder: Path) -> None:
        """Load a folder after its files were compared with its card.

        Raises:
            ModelError: it cannot be read, or a file is missing, changed or added.
        """
        _require_listed(folder)
        card = Card.read(folder)
        self._kind = kind_named(card.task or DEFAULT)
        self._model = self._kind.open_model(folder)
        self._pairs = card.texts == 2

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return a row per text, in the columns of the model's kind: ``label`` and ``score``, or the ``text`` it wrote.

        A generator takes the parameters ``control`` (empty = none), ``max_tokens``, ``temperature``, ``top_p`` and
        ``seed``.
        """
        return pd.DataFrame(self._kind.answer_texts(self._model, _texts(model_input, pairs=self._pairs), params or {}))


def _load_pyfunc(path: str) -> RegisteredModel:
    """Load what lies below the root of a version; the name is MLflow's."""
    root = Path(path)
    described = root / "MLmodel"
    folders = folders_of(described.read_bytes(), where=described, named=str(root))
    return RegisteredModel(root / folders.get("deployed", folders["checkpoint"]))


def _require_listed(folder: Path) -> None:
    """Refuse a folder with more in it than its card lists; the digests of those files are compared by who loads it."""
    listed = {CARD, *Card.read(folder).files}
    for entry in folder.rglob("*"):
        name = entry.relative_to(folder).as_posix()
        if entry.is_symlink() or (name not in listed and not entry.is_dir()):
            raise ValueError(f"{entry} belongs to no registered file; nothing was loaded")


def _texts(model_input: Any, *, pairs: bool) -> Sequence[str]:
    from secateur.readers.pairs import as_text

    if pairs:
        rows = model_input.itertuples(index=False) if isinstance(model_input, pd.DataFrame) else model_input
        return [as_text([str(text) for text in row]) for row in rows]
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        column = "text" if "text" in model_input.columns else model_input.columns[0]
        return [str(text) for text in model_input[column]]
    return [str(text) for text in model_input]

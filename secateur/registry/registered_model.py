"""The script that MLflow stores with every registered model: safetensors and this text, no pickle."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class RegisteredModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not typed
    """Works on strings: a list, a data frame with a ``text`` column, or a single string; of pairs on two columns."""

    def load_context(self, context: Any) -> None:
        """Load the deployed form, or the checkpoint where there is none, after its digests are verified."""
        from secateur.kinds.registry import DEFAULT, kind_named

        folders = context.artifacts
        folder = Path(folders.get("deployed", folders["checkpoint"]))
        _remove_own_bytecode()
        _require_listed(folder)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        self._kind = kind_named(card.get("task") or DEFAULT)
        self._model = self._kind.open_model(folder)
        self._pairs = card.get("texts") == 2

    # Without annotations: MLflow would take them for a schema and warn about it.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Return a row per text, in the columns of the model's kind: ``label`` and ``score``, or the ``text`` it wrote.

        A generator takes the parameters ``control`` (empty = none), ``max_tokens``, ``temperature``, ``top_p`` and
        ``seed``.
        """
        return pd.DataFrame(self._kind.answer_texts(self._model, _texts(model_input, pairs=self._pairs), params or {}))


def _remove_own_bytecode() -> None:
    """Take away what Python wrote beside this script to load it: nobody registered it."""
    written = Path(globals().get("__cached__") or "")
    if written.parent.parent == Path(__file__).parent:
        with suppress(OSError):
            written.unlink()
            written.parent.rmdir()


def _require_listed(folder: Path) -> None:
    """Refuse a folder with more in it than its card lists; the digests of those files are compared by who loads it."""
    listed = {"card.json", *json.loads((folder / "card.json").read_text(encoding="utf-8"))["files"]}
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


mlflow.models.set_model(RegisteredModel())

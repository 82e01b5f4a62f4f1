"""The script that MLflow stores with every registered model: safetensors and this text, no pickle."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class RegisteredModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not typed
    """Works on strings: a list, a data frame with a ``text`` column, or a single string."""

    def load_context(self, context: Any) -> None:
        """Load the deployed form, or the checkpoint where there is none, after its digests are verified."""
        from secateur.inference.prediction import Predictor
        from secateur.inference.writing import Writer
        from secateur.models.card import read_card

        folders = context.artifacts
        folder = Path(folders.get("deployed", folders["checkpoint"]))
        _remove_own_bytecode()
        _require_listed(folder)
        self._generates = read_card(folder).get("task") == "generation"
        self._model: Any = Writer.load(folder) if self._generates else Predictor.load(folder)

    # Without annotations: MLflow would take them for a schema and warn about it.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Return a row per text: ``label`` and ``score`` of a classifier, ``text`` of a generator.

        A generator takes the parameters ``control`` (empty = none), ``max_tokens``, ``temperature``, ``top_p`` and
        ``seed``.
        """
        texts = _texts(model_input)
        if self._generates:
            return pd.DataFrame({"text": self._write(texts, params or {})})
        predictions = self._model.predict(texts)
        return pd.DataFrame({"label": [p.label for p in predictions], "score": [float(p.score) for p in predictions]})

    def _write(self, prompts: Sequence[str], params: Mapping[str, Any]) -> list[str]:
        from secateur.inference.decoding import Sampling

        given = {name: params[name] for name in ("max_tokens", "temperature", "top_p", "seed") if name in params}
        sampling = Sampling(**{"max_tokens": 128, **given})
        written = self._model.write(prompts, sampling=sampling, label=params.get("control") or None)
        return [text.text for text in written]


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


def _texts(model_input: Any) -> Sequence[str]:
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        column = "text" if "text" in model_input.columns else model_input.columns[0]
        return [str(text) for text in model_input[column]]
    return [str(text) for text in model_input]


mlflow.models.set_model(RegisteredModel())

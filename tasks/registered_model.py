"""The script that MLflow stores with every registered model: safetensors and this text, no pickle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class RegisteredModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not typed
    """Predicts on strings: a list, a data frame with a ``text`` column, or a single string."""

    def load_context(self, context: Any) -> None:
        """Load the deployed form, or the checkpoint where there is none, after its digests are verified."""
        from secateur.evaluation.prediction import Predictor

        folders = context.artifacts
        self._predictor = Predictor.load(Path(folders.get("deployed", folders["checkpoint"])))

    # Without annotations: MLflow would take them for a schema and warn about it.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Return a row ``label``, ``score`` per text."""
        predictions = self._predictor.predict(_texts(model_input))
        return pd.DataFrame({"label": [p.label for p in predictions], "score": [float(p.score) for p in predictions]})


def _texts(model_input: Any) -> Sequence[str]:
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        column = "text" if "text" in model_input.columns else model_input.columns[0]
        return [str(text) for text in model_input[column]]
    return [str(text) for text in model_input]


mlflow.models.set_model(RegisteredModel())

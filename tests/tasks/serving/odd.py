"""A model that waits, fails and remembers what it was asked."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from secateur.inference.prediction import Prediction
from secateur.serving.served import Served


class Odd:
    """Answers as the model that it wraps does, once ``hold`` is set."""

    POISON = "poison"

    def __init__(self) -> None:
        """Let everything through."""
        self.hold = threading.Event()
        self.hold.set()
        self.batches: list[list[str]] = []
        self._inner: Any = None

    def wrap(self, served: Served) -> Served:
        """Stand in for the predictor of a loaded model."""
        self._inner = served.model
        stand_in: Any = self
        return replace(served, model=stand_in)

    def predict(self, texts: Sequence[str], *, batch_size: int) -> list[Prediction]:
        """See ``Predictor.predict``."""
        self.batches.append(list(texts))
        self.hold.wait(timeout=30)
        if self.POISON in texts:
            raise RuntimeError("poisoned")
        predictions: list[Prediction] = self._inner.predict(texts, batch_size=batch_size)
        return predictions

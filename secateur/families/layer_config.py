"""A config as one layer's attention reads it."""

from collections.abc import Mapping
from typing import Any, final

from transformers import PreTrainedConfig


@final
class LayerConfig:
    """The model's config, but for some values.

    Architectures that look up the number of their queries while they run would find the dense one, or none, because
    every layer has its own.
    """

    def __init__(self, whole: PreTrainedConfig, values: Mapping[str, int]) -> None:
        """Take the config of the model, which stays the one that everything else is read from."""
        self.whole = whole
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        """Return what the model's config has."""
        if name == "whole":  # while a copy is made
            raise AttributeError(name)
        return getattr(self.whole, name)

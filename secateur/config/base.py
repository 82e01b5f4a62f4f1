"""What every section of params.yaml shares: frozen, no unknown keys, every field documented."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share in [0, 1)."""

ProperFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A share in (0, 1)."""

PositiveFraction = Annotated[float, Field(gt=0.0, le=1.0)]
"""A share in (0, 1]."""

PositiveInt = Annotated[int, Field(ge=1)]

Runtime = Literal["torch", "onnx", "onnx-int8"]
"""The form of a model: PyTorch, ONNX, ONNX in 8 bits."""

ClassWeights = Literal["none", "balanced"]
"""What a row counts in the loss on the labels: all the same, or those of each label as much as those of any other."""

LongTexts = Literal["head", "head_tail", "windows"]
"""What is read of a text that is longer than a model reads: its beginning, both ends, or all of it piece by piece."""

TextAttack = Literal["typos", "swaps", "homoglyphs", "casing", "deletion"]
"""What is done to a text by an attack that knows no model."""


class Section(BaseModel):
    """One section of params.yaml: the parameters of the stage with the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, values: Any) -> Any:
        """Take a section of which nothing is given (all its lines are comments) for one that is left out."""
        if not isinstance(values, Mapping):
            return values
        sections = {
            field.alias or name
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }
        return {name: value for name, value in values.items() if value is not None or name not in sections}

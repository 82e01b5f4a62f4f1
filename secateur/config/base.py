"""What every section of params.yaml shares: frozen, no unknown keys, every field documented."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share in [0, 1)."""

ProperFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A share in (0, 1)."""

PositiveFraction = Annotated[float, Field(gt=0.0, le=1.0)]
"""A share in (0, 1]."""

PositiveInt = Annotated[int, Field(ge=1)]

Runtime = Literal["torch", "onnx", "onnx-int8"]
"""The form of a model: PyTorch, ONNX, ONNX in 8 bits."""

TextAttack = Literal["typos", "swaps", "homoglyphs", "casing", "deletion"]
"""What is done to a text by an attack that knows no model."""


class Section(BaseModel):
    """One section of params.yaml: the parameters of the stage with the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

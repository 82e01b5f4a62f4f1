"""What every section of params.yaml shares: frozen, no unknown keys, every field documented."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share in [0, 1)."""

ProperFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A share in (0, 1)."""

PositiveFraction = Annotated[float, Field(gt=0.0, le=1.0)]
"""A share in (0, 1]."""

PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """One section of params.yaml: the parameters of the stage with the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

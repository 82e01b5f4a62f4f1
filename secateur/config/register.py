"""``register``: under which names models are published."""

from typing import Annotated

from pydantic import Field

from secateur.config.base import Section


class RegisterSection(Section):
    """Names in the tracking server and its model registry."""

    experiment: Annotated[str, Field(min_length=1, description="MLflow experiment")]
    model_name: Annotated[
        str,
        Field(
            min_length=1, pattern=r"^[^/:]+$", description="registered model; baseline and rounds are versions of it"
        ),
    ]

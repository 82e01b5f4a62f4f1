"""``run``: what every stage shares."""

from typing import Annotated, Literal

from pydantic import Field

from secateur.config.base import PositiveInt, Section

Precision = Literal["auto", "fp32", "bf16"]
Task = Literal["classification", "generation"]


class RunSection(Section):
    """Settings that hold for the whole run."""

    task: Annotated[Task, Field(description="what the model does: it labels a text, or continues it")] = (
        "classification"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of every random draw")] = 0
    num_threads: Annotated[
        PositiveInt, Field(description="CPU threads of a training stage; other counts give other bits")
    ] = 2
    precision: Annotated[
        Precision,
        Field(
            description="auto = bf16 autocast where that is faster: with AMX, or with AVX-512 BF16 on AMD; else fp32"
        ),
    ] = "auto"

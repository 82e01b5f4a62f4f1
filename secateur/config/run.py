"""``run``: what every stage shares."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from secateur.config.base import PositiveInt, Section
from secateur.errors import ConfigError
from secateur.kinds.registry import DEFAULT, KINDS

Precision = Literal["auto", "fp32", "bf16"]


def _known(name: str) -> str:
    try:
        KINDS.find(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


def _list_kinds(schema: dict[str, Any]) -> None:
    schema["enum"] = list(KINDS)


KindName = Annotated[str, AfterValidator(_known)]
"""The name of a kind of task, ours or another package's."""


class RunSection(Section):
    """Settings that hold for the whole run."""

    task: Annotated[
        KindName,
        Field(
            description="what the model does: it labels a text, continues it, gives it any number of labels, a number, or a grade",
            json_schema_extra=_list_kinds,
        ),
    ] = DEFAULT
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

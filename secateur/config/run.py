"""``run``: what every stage shares."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from secateur.config.base import PositiveInt, Section
from secateur.errors import ConfigError
from secateur.kinds.registry import DEFAULT, KINDS

Precision = Literal["auto", "fp32", "bf16"]

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where a model computes; ``auto`` takes an accelerator where the machine has one."""


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
    device: Annotated[
        Device,
        Field(
            description="where models train and are scored; auto = an accelerator where there is one; other devices give other bits"
        ),
    ] = "cpu"
    processes: Annotated[
        PositiveInt,
        Field(
            description="processes that share out the rows of a training step, each with num_threads; other counts give other bits"
        ),
    ] = 1
    precision: Annotated[
        Precision,
        Field(
            description="auto = bf16 autocast where that is faster: with AMX, with AVX-512 BF16 on AMD, on a GPU that has it; else fp32"
        ),
    ] = "auto"

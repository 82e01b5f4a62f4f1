"""``register``: under which names models are published, and in which form."""

from typing import Annotated

from pydantic import Field

from secateur.config.base import Runtime, Section


class RegisterSection(Section):
    """Names in the tracking server and its model registry; the form that a version predicts with."""

    experiment: Annotated[str, Field(min_length=1, description="MLflow experiment")] = "secateur"
    model_name: Annotated[
        str,
        Field(
            min_length=1, pattern=r"^[^/:]+$", description="registered model; baseline and rounds are versions of it"
        ),
    ] = "text-model"
    runtime: Annotated[
        Runtime,
        Field(
            description="what a version predicts with, the same as evaluate.deployed; ONNX lies beside the checkpoint"
        ),
    ] = "onnx-int8"

"""What the dense model and the recovery of a pruned one have in common: one training loop."""

from typing import Annotated, Literal

from pydantic import Field

from secateur.config.base import Fraction, PositiveInt, Section


class TrainingSection(Section):
    """What the baseline and the recovery of a pruned model have in common."""

    epochs: Annotated[float, Field(ge=0.0, le=1000.0, description="passes over the training rows; 0 = no training")] = (
        1.2
    )
    min_steps: Annotated[
        int,
        Field(
            ge=0,
            description="optimiser steps at least: with few rows the epochs grow until there are so many; 0 = as asked",
        ),
    ] = 0
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0, description="peak rate")] = 0.0001
    optimizer: Annotated[
        Literal["adamw", "muon"],
        Field(description="muon orthogonalises the updates of the layers' matrices: fewer steps from nothing"),
    ] = "adamw"
    batch_size: Annotated[PositiveInt, Field(description="rows per step")] = 32
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0, description="decoupled, on matrices only")] = 0.01
    warmup_fraction: Annotated[
        Fraction, Field(description="share of the steps with rising rate; it falls to 0 after")
    ] = 0.1
    decay: Annotated[Literal["linear", "cosine"], Field(description="how the rate falls")] = "linear"
    dropout: Annotated[
        Fraction | None,
        Field(
            description="probability for the embeddings and what every block adds; null = where and as the model has it"
        ),
    ] = None
    label_smoothing: Annotated[Fraction, Field(description="probability mass spread over all labels")] = 0.0
    train_embeddings: Annotated[
        bool, Field(description="false keeps the embeddings as they are, which saves a fifth of the time")
    ] = False
    max_grad_norm: Annotated[float, Field(gt=0.0, description="gradients are clipped to this L2 norm")] = 1.0

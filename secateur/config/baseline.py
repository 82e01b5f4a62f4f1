"""``baseline``: the dense model."""

from typing import Annotated

from pydantic import Field

from secateur.config.base import Fraction, PositiveInt, Section


class TrainingSection(Section):
    """What the baseline and the recovery of a pruned model have in common."""

    epochs: Annotated[float, Field(ge=0.0, le=1000.0, description="passes over the training rows; 0 = no training")]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0, description="peak rate of AdamW")]
    batch_size: Annotated[PositiveInt, Field(description="rows per step")]
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0, description="decoupled, on matrices only")]
    warmup_fraction: Annotated[
        Fraction, Field(description="share of the steps with rising rate; it falls linearly to 0 after")
    ]
    label_smoothing: Annotated[Fraction, Field(description="probability mass spread over all labels")]
    train_embeddings: Annotated[
        bool, Field(description="false keeps the embeddings as they are, which saves a fifth of the time")
    ]
    max_grad_norm: Annotated[float, Field(gt=0.0, description="gradients are clipped to this L2 norm")]


class BaselineSection(TrainingSection):
    """The dense model that is fine-tuned (or trained), and that teaches the pruned ones."""

    model: Annotated[
        str,
        Field(
            min_length=1,
            description="a folder, package:NAME/path, a hub model id, or scratch:FILE (a config.json to train from nothing)",
        ),
    ]
    hub_revision: Annotated[
        str | None, Field(description="commit of a hub model; null takes the newest and records it")
    ]
    max_length: Annotated[int, Field(ge=4, le=8192, description="longer texts are cut, tokens")]
    evaluations_per_epoch: Annotated[PositiveInt, Field(description="validation passes per epoch")]
    patience: Annotated[
        PositiveInt,
        Field(description="stop after so many validation passes without a better score; the best weights are kept"),
    ]

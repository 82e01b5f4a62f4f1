"""What the dense model and the recovery of a pruned one have in common: one training loop."""

from math import ceil
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from secateur.config.base import Fraction, PositiveInt, Section

ROWS_LEARNED, FEWEST_EPOCHS, MOST_EPOCHS = 28_000, 1.2, 3.0
"""``auto``: rows that a pretrained model is shown, and how often it sees each of them at least and at most."""

MOST_EPOCHS_OF_SETS = 10.0
"""``auto``: the same where rows have several labels, most of which a row has not. 23 labels and 4 492 rows: macro-F1
0.38 after 3 passes, 0.60 after 10 (docs/log.md)."""

ROWS_LEARNED_PER_LABEL = 3_200
"""``auto``: the same per label, where that is more. 40 labels and 42 506 rows: macro-F1 0.30 after 1.2 passes, 0.47
after 3, and the loss on the training rows is still that on others (docs/log.md)."""

ROWS_PER_LABEL = 500
"""``auto``: how often a label is met at least, on average, however many labels there are."""


class TrainingSection(Section):
    """What the baseline and the recovery of a pruned model have in common."""

    LEAST_STEPS: ClassVar[int] = 300
    """``auto``: of few rows a dozen steps teach nothing."""

    epochs: Annotated[
        Annotated[float, Field(ge=0.0, le=1000.0)] | Literal["auto"],
        Field(
            description="passes over the training rows; 0 = no training; auto = 1.2, up to 3 of fewer than 23 000 rows (more with more than 8 labels; up to 10 where rows have several)"
        ),
    ] = "auto"
    min_steps: Annotated[
        Annotated[int, Field(ge=0)] | Literal["auto"],
        Field(
            description="optimiser steps at least: with few rows the epochs grow until there are so many; 0 = as asked; auto = with epochs auto 300 (recovery: 200), more with more than 19 labels, else 0"
        ),
    ] = "auto"
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

    def settled(self, *, rows: int, labels: int, sets: bool = False) -> Self:
        """Return the settings with numbers where they say ``auto``.

        Args:
            rows: for training.
            labels: that a classifier tells apart; 0 for anything else.
            sets: a row may have several of them.
        """
        if self.epochs != "auto":
            return self
        steps = self._auto_steps(labels) if self.min_steps == "auto" else self.min_steps
        return self.model_copy(update={"epochs": self._auto_epochs(rows, labels, sets), "min_steps": steps})

    def _auto_epochs(self, rows: int, labels: int, sets: bool) -> float:
        learned = max(ROWS_LEARNED, ROWS_LEARNED_PER_LABEL * labels)
        return round(min(MOST_EPOCHS_OF_SETS if sets else MOST_EPOCHS, max(FEWEST_EPOCHS, learned / max(rows, 1))), 1)

    def _auto_steps(self, labels: int) -> int:
        share = self.LEAST_STEPS / TrainingSection.LEAST_STEPS
        return max(self.LEAST_STEPS, ceil(share * ROWS_PER_LABEL * labels / self.batch_size))

    @property
    def passes(self) -> float:
        """``epochs`` of settled settings."""
        assert self.epochs != "auto"
        return self.epochs

    @property
    def least_steps(self) -> int:
        """``min_steps`` of settled settings; who asks for epochs gets them."""
        return 0 if self.min_steps == "auto" else self.min_steps

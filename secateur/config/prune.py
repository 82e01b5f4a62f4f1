"""``prune``: what is removed, how much of it, and how the model recovers."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from secateur.config.base import Fraction, PositiveFraction, PositiveInt, Section
from secateur.config.baseline import TrainingSection

Criterion = Literal["magnitude", "gradient"]
StructureKind = Literal["heads", "ffn"]
ScheduleShape = Literal["linear", "geometric", "cubic"]
BudgetKind = Literal["macs", "params"]


class Budget(Section):
    """What the last round must meet, as a fraction of dense. Exactly one of the fields is set."""

    macs: Annotated[PositiveFraction | None, Field(description="multiply-accumulates of the encoder")] = None
    params: Annotated[PositiveFraction | None, Field(description="parameters outside the embeddings")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [kind for kind, value in self if value is not None]
        if len(named) != 1:
            found = ", ".join(named) or "none"
            raise ValueError(f"exactly one of {', '.join(type(self).model_fields)} must be set (found: {found})")
        return self

    @property
    def kind(self) -> BudgetKind:
        """The field that is set."""
        return "macs" if self.macs is not None else "params"

    @property
    def fraction(self) -> float:
        """The value of the field that is set."""
        value = self.macs if self.macs is not None else self.params
        assert value is not None  # guaranteed by the validator
        return value


class Schedule(Section):
    """How the budget is approached."""

    shape: Annotated[ScheduleShape, Field(description="linear or cubic in sparsity, geometric in density")]
    steps: Annotated[PositiveInt, Field(description="the round at which the budget is met; later rounds only recover")]


class Recovery(TrainingSection):
    """Training after each cut."""

    distillation_weight: Annotated[
        float,
        Field(ge=0.0, le=1.0, description="share of the distillation loss; the rest is cross-entropy on the labels"),
    ]
    temperature: Annotated[float, Field(gt=0.0, description="softmax temperature of the distillation")]


class Round(Section):
    """One round: what it starts from, and what it does differently from the section above."""

    prev: Annotated[str, Field(description="the round it continues: baseline, r1, r2, ...")]
    budget: Annotated[
        PositiveFraction | None, Field(description="fraction of dense after this round; null follows the schedule")
    ] = None
    epochs: Annotated[float | None, Field(ge=0.0, le=1000.0, description="null takes recovery.epochs")] = None
    learning_rate: Annotated[float | None, Field(gt=0.0, le=1.0, description="null takes recovery.learning_rate")] = (
        None
    )


class PruneSettings(Section):
    """score -> choose -> cut -> recover -> validate -> accept or roll back: what all rounds share."""

    criterion: Annotated[Criterion, Field(description="how structures are scored")]
    structures: Annotated[tuple[StructureKind, ...], Field(min_length=1, description="what may be removed")]
    budget: Annotated[Budget, Field(description="what the last round must meet")]
    schedule: Annotated[Schedule, Field(description="how the rounds approach the budget")]
    calibration_rows: Annotated[PositiveInt, Field(description="training rows that the criterion sees")]
    ffn_multiple: Annotated[
        PositiveInt, Field(description="FFN neurons are kept in multiples of this, which vector units like")
    ]
    min_heads: Annotated[PositiveInt, Field(description="heads that stay in every layer")]
    max_drop: Annotated[
        Fraction,
        Field(
            description="quality floor: a round that loses more of baseline's validation score is rolled back, and pruning stops"
        ),
    ]
    recovery: Annotated[Recovery, Field(description="training after each cut")]


class PruneSection(PruneSettings):
    """The settings that all rounds share, and the chain of rounds."""

    rounds: Annotated[Mapping[str, Round], Field(description="r1, r2, ... in a chain")]

    @field_validator("rounds")
    @classmethod
    def _chain(cls, rounds: Mapping[str, Round]) -> Mapping[str, Round]:
        previous = "baseline"
        for number, (name, entry) in enumerate(rounds.items(), start=1):
            if name != f"r{number}" or entry.prev != previous:
                raise ValueError(
                    f"rounds form a chain: entry {number} must be r{number}: {{prev: {previous}}}, found {name}: {{prev: {entry.prev}}}"
                )
            previous = name
        if not rounds:
            raise ValueError("at least r1: {prev: baseline} is needed")
        return rounds

"""``prune``: what is removed, how much of it, and how the model recovers."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from secateur.config.base import Fraction, PositiveFraction, PositiveInt, Runtime, Section
from secateur.config.criteria import CRITERIA, CRITERION_SECTIONS
from secateur.config.registered import Registered
from secateur.config.regularizers import NONE, REGULARIZER_SECTIONS, REGULARIZERS
from secateur.config.training import TrainingSection
from secateur.kinds.registry import KINDS, kind_named
from secateur.quality import MOST_GROWTH

if TYPE_CHECKING:
    from secateur.pruning.criterion import Criterion
    from secateur.pruning.regularizer import Regularizer

StructureKind = Literal["heads", "ffn"]
ScheduleShape = Literal["linear", "geometric", "cubic"]
BudgetKind = Literal["latency", "macs", "params", "sparsity"]
"""What can be counted or measured of a model, and what a budget is a fraction of."""
Price = Literal["latency", "macs", "params"]
Granularity = Literal["structures", "weights"]
Action = Literal["remove", "suppress"]
Repair = Literal["none", "bias", "least_squares"]

FormerName = Annotated[
    Any,
    Field(
        description="what a section of its own says now, by the name that it had in 0.3",
        json_schema_extra={"former": True},
        exclude_if=lambda value: value is None,
    ),
]
"""An entry that a params.yaml of 0.3 names; the criterion or regulariser that it belongs to knows what it may be."""

_FORMER_FIELDS = ("norm", "gradient_score", "search_trials")
_FORMER_GROWTH = "regularization.growth"

FORMER_NAMES = (*_FORMER_FIELDS, _FORMER_GROWTH)
"""Below ``prune``."""

Multiplier = Annotated[float, Field(ge=0.0, allow_inf_nan=True)]
"""A preset factor on an importance; infinity protects."""


class Budget(Section):
    """What the last round must meet: a fraction of dense, or a quality. Exactly one of them is set."""

    max_drop: Annotated[
        PositiveFraction | None,
        Field(
            description="a promise: the fastest model that probably loses no more of dense's validation macro-F1 (generation: whose perplexity grows by no more than this share)"
        ),
    ] = None
    price: Annotated[
        Price | None,
        Field(
            description="max_drop: what fastest means; latency (also null) is measured by prune.latency, the others are counted"
        ),
    ] = None
    latency: Annotated[
        PositiveFraction | None, Field(description="time of one call on the runtime of prune.latency")
    ] = None
    macs: Annotated[PositiveFraction | None, Field(description="multiply-accumulates of the encoder")] = None
    params: Annotated[PositiveFraction | None, Field(description="parameters outside the embeddings")] = None
    sparsity: Annotated[
        Fraction | None,
        Field(description="share of the encoder's weights that goes (all others: the share that stays)"),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        choices = tuple(name for name in type(self).model_fields if name != "price")
        named = [name for name in choices if getattr(self, name) is not None]
        if len(named) != 1:
            found = ", ".join(named) or "none"
            raise ValueError(f"exactly one of {', '.join(choices)} must be set (found: {found})")
        if self.price is not None and self.max_drop is None:
            raise ValueError(
                f"price={self.price} says what is made small for a promise of max_drop, found {named[0]}, which is a "
                "price itself; leave price out"
            )
        return self

    @property
    def kind(self) -> BudgetKind:
        """What is counted or measured: the fraction that is set, or the price of a promise."""
        if self.max_drop is not None:
            return self.price or "latency"
        return next(kind for kind in get_args(BudgetKind) if getattr(self, kind) is not None)

    @property
    def fraction(self) -> float | None:
        """What may stay, as a fraction of dense; ``1 - sparsity`` for a budget of sparsity; None for a promise."""
        if self.max_drop is not None:
            return None
        value = float(getattr(self, self.kind))
        return 1.0 - value if self.kind == "sparsity" else value


class Schedule(Section):
    """How the budget is approached."""

    shape: Annotated[
        ScheduleShape,
        Field(
            description="linear or cubic in sparsity, geometric in density; of a promise: geometric doubles it from round to round"
        ),
    ] = "geometric"
    steps: Annotated[
        PositiveInt, Field(description="the round at which the budget is met; later rounds only recover")
    ] = 3
    tries: Annotated[
        int,
        Field(
            ge=1, le=10, description="cuts with full recovery that a round may try; each one after a failure is gentler"
        ),
    ] = 3


def _list_scores(schema: dict[str, Any]) -> None:
    schema["enum"] = [*dict.fromkeys(kind_named(name).measure.name for name in KINDS), "loss"]


class Recovery(TrainingSection):
    """Training after each cut."""

    LEAST_STEPS: ClassVar[int] = 200  # the dense model is a teacher

    epochs: Annotated[
        Annotated[float, Field(ge=0.0, le=1000.0)] | Literal["auto"],
        Field(description="passes over the training rows; 0 = no training; auto = 1"),
    ] = "auto"
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0, description="peak rate")] = 2e-4
    distillation_weight: Annotated[
        float,
        Field(ge=0.0, le=1.0, description="share of the distillation loss; the rest is cross-entropy on the labels"),
    ] = 0.8
    temperature: Annotated[float, Field(gt=0.0, description="softmax temperature of the distillation")] = 2.0
    hidden_weight: Annotated[
        float, Field(ge=0.0, description="weight of the distance to the dense model's hidden states, token by token")
    ] = 0.0
    best_by: Annotated[
        str,
        Field(
            description="which validation score decides which weights are kept: loss, or that of the kind of task",
            json_schema_extra=_list_scores,
        ),
    ] = "loss"

    def _auto_epochs(self, rows: int, labels: int, sets: bool) -> float:
        return 1.0


class Regularization(Section):
    """The training before the cut that drives what is unimportant towards zero; runs when there is a regulariser."""

    strength: Annotated[
        float, Field(ge=0.0, description="lambda: size of the proximal step per unit of learning rate")
    ] = 1.0
    growth: FormerName = None
    epochs: Annotated[
        float,
        Field(ge=0.0, le=1000.0, description="passes over the training rows; recovery.min_steps holds here too"),
    ] = 0.5
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0, description="peak rate of AdamW")] = 0.0001

    @field_validator("growth")
    @classmethod
    def _as_the_regularizer_takes_it(cls, value: Any) -> Any:
        return None if value is None else REGULARIZER_SECTIONS.validated(_FORMER_GROWTH, value)


class LatencyBudget(Section):
    """Where a budget of ``latency`` is measured."""

    runtime: Annotated[Runtime, Field(description="what runs the model in production")] = "onnx-int8"
    batch: Annotated[PositiveInt, Field(description="rows per call")] = 1
    length: Annotated[PositiveInt, Field(description="tokens per row")] = 32
    num_threads: Annotated[PositiveInt, Field(description="threads of the runtime")] = 1
    repeats: Annotated[int, Field(ge=3, description="timed calls per entry of the table")] = 50
    max_error: Annotated[
        float,
        Field(
            gt=0.0,
            description="a table whose predictions are off by more, or whose repeated passes differ by more, is not kept; relative",
        ),
    ] = 0.1


class Round(Section):
    """One round: what it starts from, and what it does differently from the section above."""

    prev: Annotated[str, Field(description="the model it starts from: baseline, or an earlier round that it continues")]
    student: Annotated[
        Literal["static"] | None,
        Field(
            description="static = no cut: a vector per token, summed, and one hidden layer learn the dense model's answers; classifiers only"
        ),
    ] = None
    deploy: Annotated[
        bool, Field(description="false = measured, shown and registered as every round, and never the challenger")
    ] = True
    action: Annotated[Action | None, Field(description="null takes prune.action")] = None
    budget: Annotated[
        PositiveFraction | None, Field(description="fraction of dense after this round; null follows the schedule")
    ] = None
    max_drop: Annotated[
        PositiveFraction | None,
        Field(description="what this round promises under a budget of max_drop; null follows the schedule"),
    ] = None
    epochs: Annotated[float | None, Field(ge=0.0, le=1000.0, description="null takes recovery.epochs")] = None
    learning_rate: Annotated[float | None, Field(gt=0.0, le=1.0, description="null takes recovery.learning_rate")] = (
        None
    )


class PruneSettings(Section):
    """score -> choose -> cut -> recover -> validate -> accept or roll back: what all rounds share."""

    criterion: Annotated[
        str,
        Registered(CRITERIA),
        Field(description="how structures or weights are scored; l1, l2 and group_lasso bring their regulariser"),
    ] = "obs"
    criteria: Annotated[
        Section, CRITERION_SECTIONS, Field(description="settings of the criteria that have any, by their names")
    ] = Field(default_factory=partial(CRITERION_SECTIONS.of, {}))
    norm: FormerName = None
    gradient_score: FormerName = None
    search_trials: FormerName = None
    multipliers: Annotated[
        Mapping[str, Multiplier],
        Field(
            description="preset importance by name, e.g. layers.0.heads.3 or layers.*.ffn; 0 goes first, .inf stays; fixed_weight needs one for every layer"
        ),
    ] = {}
    regularizer: Annotated[
        str,
        Registered(REGULARIZERS, besides=(NONE,)),
        Field(description="trained with before each cut; goes with any criterion"),
    ] = NONE
    regularizers: Annotated[
        Section, REGULARIZER_SECTIONS, Field(description="settings of the regularisers that have any, by their names")
    ] = Field(default_factory=partial(REGULARIZER_SECTIONS.of, {}))
    regularization: Annotated[Regularization, Field(description="the training before the cut")] = Regularization()
    granularity: Annotated[
        Granularity,
        Field(description="structures = heads and neurons are cut out; weights = single weights, smaller files only"),
    ] = "structures"
    pattern: Annotated[
        Literal["2:4", "4:8"] | None, Field(description="weights: so many of each group of inputs stay; null is free")
    ] = None
    action: Annotated[
        Action, Field(description="remove = gone for good; suppress = divided, and rescued or removed by a later round")
    ] = "remove"
    suppress_divisor: Annotated[float, Field(gt=1.0, description="what suppressed weights are divided by")] = 10000.0
    regrow_fraction: Annotated[
        Fraction, Field(description="share of what is removed that returns where the gradient asks for it")
    ] = 0.0
    structures: Annotated[tuple[StructureKind, ...], Field(min_length=1, description="what may be removed")] = (
        "heads",
        "ffn",
    )
    num_layers: Annotated[
        PositiveInt | None, Field(description="layers that stay, chosen by calibration loss; null keeps all")
    ] = None
    hidden_size: Annotated[
        PositiveInt | None, Field(description="features of the residual stream that stay; null = all")
    ] = None
    vocabulary_min_count: Annotated[
        Annotated[int, Field(ge=0)] | Literal["auto"],
        Field(
            description="tokens rarer than this in the training rows leave the vocabulary; 0 keeps all; auto = the largest of 5, 3, 2 and 1 that the dense model bears, or 0"
        ),
    ] = "auto"
    vocabulary_max_drop: Annotated[
        Fraction,
        Field(
            description="auto: what the dense model's validation macro-F1 may lose by fewer tokens before any recovery (generation: growth of its perplexity); half of a round's promise at most"
        ),
    ] = 0.01
    budget: Annotated[Budget, Field(description="what the last round must meet")] = Budget(
        max_drop=0.02, price="latency"
    )
    latency: Annotated[LatencyBudget, Field(description="where a budget of latency is measured")] = LatencyBudget()
    schedule: Annotated[Schedule, Field(description="how the rounds approach the budget")] = Schedule()
    calibration_rows: Annotated[PositiveInt, Field(description="training rows that the criterion sees")] = 512
    repair: Annotated[
        Repair, Field(description="what compensates for a cut before any training: nothing, a bias, or least squares")
    ] = "none"
    ffn_multiple: Annotated[
        PositiveInt,
        Field(description="FFN neurons are kept in multiples of this; a latency table times multiples of 64"),
    ] = 64
    min_heads: Annotated[int, Field(ge=0, description="heads that stay in every layer; 0 lets whole blocks go")] = 0
    min_neurons: Annotated[
        int, Field(ge=0, description="FFN neurons that stay in every layer; 0 lets whole blocks go")
    ] = 0
    max_drop: Annotated[
        float,
        Field(
            ge=0.0,
            le=MOST_GROWTH,
            description="quality floor: a round that loses more of baseline's validation macro-F1 (generation: whose perplexity grows by more than this share) is rolled back, and pruning stops; under a budget of max_drop the promise takes its place",
        ),
    ] = 0.03
    max_robust_drop: Annotated[
        PositiveFraction | None,
        Field(description="the same for the validation score under attack; null does not measure it"),
    ] = None
    recovery: Annotated[Recovery, Field(description="training after each cut")] = Recovery()

    @field_validator(*_FORMER_FIELDS)
    @classmethod
    def _as_the_criterion_takes_it(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else CRITERION_SECTIONS.validated(str(info.field_name), value)

    @model_validator(mode="after")
    def _former_names_count(self) -> Self:
        values = {name: getattr(self, name) for name in _FORMER_FIELDS} | {_FORMER_GROWTH: self.regularization.growth}
        given = {name: value for name, value in values.items() if value is not None}
        # Not by another object, since a section is frozen and what it was given stays what it was given.
        self.__dict__["criteria"] = CRITERION_SECTIONS.with_former_names(self.criteria, given)
        self.__dict__["regularizers"] = REGULARIZER_SECTIONS.with_former_names(self.regularizers, given)
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        weights = self.granularity == "weights"
        if self.granularity not in self.scorer.scores:
            raise ValueError(
                f"criterion {self.criterion} is for granularity {self.scorer.scores[0]}, found granularity {self.granularity}"
            )
        if weights and self.budget.sparsity is None:
            found = self.budget.kind if self.budget.max_drop is None else "max_drop"
            raise ValueError(
                "granularity weights makes files smaller and nothing faster, so its budget is sparsity, "
                f"found budget.{found}"
            )
        if self.pattern is not None and not weights:
            raise ValueError(f"pattern {self.pattern} is for granularity weights, found granularity structures")
        if self.pattern is not None and self.budget.sparsity != 0.5:
            raise ValueError(
                f"pattern {self.pattern} is a sparsity of 0.5, found budget.sparsity={self.budget.sparsity}"
            )
        if self.pattern is not None and self.regrow_fraction > 0.0:
            raise ValueError(
                f"pattern {self.pattern} leaves no room for what returns; found regrow_fraction={self.regrow_fraction:g}"
            )
        if self.needs_multipliers and not self.multipliers:
            raise ValueError(
                f"criterion {self.criterion} needs multipliers, e.g. {{layers.*.heads: 1, layers.*.ffn: 1}}; found none"
            )
        shrinker = self.shrinker
        if shrinker is not None and shrinker.problem is not None:
            problem = shrinker.problem(self.regularization, self.of_shrinker[shrinker.name])
            if problem is not None:
                raise ValueError(problem)
        return self

    @property
    def scorer(self) -> "Criterion[Any]":
        """What ``criterion`` names."""
        return CRITERIA[self.criterion]

    @property
    def own(self) -> Section:
        """The settings of the criterion."""
        found: Section = getattr(self.criteria, self.criterion, None) or self.scorer.settings()
        return found

    @property
    def needs_multipliers(self) -> bool:
        """Whether the criterion asks for a preset factor for every layer."""
        return "multipliers" in self.scorer.needs

    @property
    def trained_with(self) -> str:
        """The regulariser of the training before the cut: the criterion's own, or the one that is combined with it."""
        brought = self.scorer.regularizer
        return self.regularizer if brought == NONE else brought

    @property
    def shrinker(self) -> "Regularizer[Any] | None":
        """What ``trained_with`` names; None where it names none, or where there is no training before the cut."""
        return REGULARIZERS[self.trained_with] if self.trains_before_cut else None

    @property
    def of_shrinker(self) -> Mapping[str, Section]:
        """The settings of the regulariser by its name; nothing where there is none."""
        name = self.trained_with
        return {} if name == NONE else {name: getattr(self.regularizers, name, None) or REGULARIZERS[name].settings()}

    @property
    def trains_before_cut(self) -> bool:
        """Whether there is a training under a regulariser before the cut."""
        return self.trained_with != NONE and self.regularization.epochs > 0.0


DEFAULT_ROUNDS: Mapping[str, Round] = {
    "r1": Round(prev="baseline", epochs=0.4, learning_rate=1e-4),
    "r2": Round(prev="baseline"),
    "r3": Round(prev="baseline", epochs=1.3, learning_rate=4e-4),
}
"""Each cuts the dense model anew: one exact cut loses less than a chain of them."""


class PruneSection(PruneSettings):
    """The settings that all rounds share, and the rounds."""

    def shared(self) -> PruneSettings:
        """Return what every round is given: of the settings of criteria and regularisers those of the chosen ones."""
        values = {name: getattr(self, name) for name in PruneSettings.model_fields}
        sections = {
            "criteria": CRITERION_SECTIONS.only({self.criterion: self.own}),
            "regularizers": REGULARIZER_SECTIONS.only(self.of_shrinker),
            "regularization": self.regularization.model_copy(update={"growth": None}),
        }
        return PruneSettings.model_validate(values | dict.fromkeys(_FORMER_FIELDS) | sections)

    rounds: Annotated[
        Mapping[str, Round], Field(description="r1, r2, ...: each starts from baseline or from an earlier one")
    ] = DEFAULT_ROUNDS

    @field_validator("rounds")
    @classmethod
    def _in_order(cls, rounds: Mapping[str, Round]) -> Mapping[str, Round]:
        known = ["baseline"]
        for number, (name, entry) in enumerate(rounds.items(), start=1):
            if name != f"r{number}":
                raise ValueError(f"rounds are r1, r2, ... in this order; found {name} in place {number}")
            if entry.prev not in known:
                raise ValueError(f"round {name} cannot start from {entry.prev}; {' or '.join(known)} would work")
            nothing_cut = next((key for key in ("action", "budget") if getattr(entry, key) is not None), None)
            if entry.student is not None and nothing_cut is not None:
                raise ValueError(f"round {name} cuts nothing (student={entry.student}); leave its {nothing_cut} out")
            if entry.student is None:
                known.append(name)  # of a student nothing can be cut
        if not rounds:
            raise ValueError("at least r1: {prev: baseline} is needed")
        if not any(entry.deploy for entry in rounds.values()):
            raise ValueError("no round may be deployed (deploy: false); one or more would work")
        return rounds

    @model_validator(mode="after")
    def _one_kind_of_budget(self) -> Self:
        promise = self.budget.max_drop is not None
        asked = f"budget.{'max_drop' if promise else self.budget.kind}"
        for name, entry in self.rounds.items():
            if promise and entry.budget is not None:
                raise ValueError(
                    f"rounds.{name}.budget={entry.budget:g} is a fraction of dense, and {asked} asks for a quality; "
                    f"rounds.{name}.max_drop would work"
                )
            if not promise and entry.max_drop is not None and entry.student is None:
                raise ValueError(
                    f"rounds.{name}.max_drop={entry.max_drop:g} is a promise of quality, and {asked} asks for a size; "
                    f"rounds.{name}.budget, or budget.max_drop for all rounds, would work"
                )
        return self

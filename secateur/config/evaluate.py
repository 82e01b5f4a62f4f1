"""``evaluate``: how the models are measured."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secateur.config.base import PositiveInt, Section

Runtime = Literal["torch", "onnx", "onnx-int8"]
TextAttack = Literal["typos", "swaps", "homoglyphs", "casing", "deletion"]
Attack = Literal["typos", "swaps", "homoglyphs", "casing", "deletion", "gradient"]


class LatencySection(Section):
    """One interleaved run over all models and runtimes."""

    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1, description="where the models are timed")]
    batch: Annotated[PositiveInt, Field(description="rows per call")]
    length: Annotated[PositiveInt, Field(description="tokens per row")]
    num_threads: Annotated[PositiveInt, Field(description="threads of the runtime")]
    repeats: Annotated[int, Field(ge=3, description="timed calls per model, after the warm-up")]


class RobustnessSection(Section):
    """Scores under attack, on a sample of the test rows."""

    rows: Annotated[int, Field(ge=0, description="test rows that are attacked, drawn with run.seed; 0 = off")]
    attacks: Annotated[
        tuple[Attack, ...],
        Field(min_length=1, description="what is done to the texts; gradient swaps words against each model"),
    ]
    words_per_text: Annotated[PositiveInt, Field(description="words that an attack changes in one text, at most")]
    num_candidates: Annotated[
        PositiveInt, Field(description="gradient: nearest words of the model's own embeddings that may replace a word")
    ]

    @model_validator(mode="after")
    def _check(self) -> Self:
        twice = sorted({attack for attack in self.attacks if self.attacks.count(attack) > 1})
        if twice:
            raise ValueError(f"every attack is named once, found {', '.join(twice)} more than once")
        return self


class EvaluateSection(Section):
    """Test-set scores with confidence intervals, scores of the deployed form and under attack, measured latency."""

    batch_size: Annotated[PositiveInt, Field(description="rows per forward pass")]
    bootstrap_samples: Annotated[int, Field(ge=100, description="resamples behind a confidence interval")]
    confidence_level: Annotated[float, Field(gt=0.5, lt=1.0, description="of the intervals")]
    deployed: Annotated[
        Runtime,
        Field(description="the form that goes into production; its scores and bytes are the deployed_* metrics"),
    ]
    robustness: Annotated[RobustnessSection, Field(description="what the models are attacked with")]
    latency: Annotated[LatencySection, Field(description="what is timed, never compared")]

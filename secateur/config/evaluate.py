"""``evaluate``: how the models are measured."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from secateur.config.base import PositiveFraction, PositiveInt, Runtime, Section

Attack = Literal["typos", "swaps", "homoglyphs", "casing", "deletion", "gradient"]


def check_named_once(attacks: Sequence[str]) -> None:
    """Refuse a list of attacks that names one of them twice.

    Raises:
        ValueError: for pydantic, which adds the parameter's name.
    """
    twice = sorted({attack for attack in attacks if attacks.count(attack) > 1})
    if twice:
        raise ValueError(f"every attack is named once, found {', '.join(twice)} more than once")


class LatencySection(Section):
    """One interleaved run over all models and runtimes."""

    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1, description="where the models are timed")] = (
        "torch",
        "onnx",
        "onnx-int8",
    )
    batch: Annotated[PositiveInt, Field(description="rows per call")] = 1
    length: Annotated[PositiveInt, Field(description="tokens per row")] = 32
    num_threads: Annotated[
        PositiveInt,
        Field(description="threads of the runtime; one is timed by its own clock, which other work does not move"),
    ] = 1
    repeats: Annotated[int, Field(ge=3, description="timed calls per model, after the warm-up")] = 100


class RobustnessSection(Section):
    """Scores under attack, on a sample of the test rows."""

    rows: Annotated[int, Field(ge=0, description="test rows that are attacked, drawn with run.seed; 0 = off")] = 256
    attacks: Annotated[
        tuple[Attack, ...],
        Field(min_length=1, description="what is done to the texts; gradient swaps words against each model"),
    ] = ("typos", "swaps", "homoglyphs", "casing", "deletion", "gradient")
    words_per_text: Annotated[PositiveInt, Field(description="words that an attack changes in one text, at most")] = 2
    num_candidates: Annotated[
        PositiveInt, Field(description="gradient: nearest words of the model's own embeddings that may replace a word")
    ] = 50

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_named_once(self.attacks)
        return self


class GenerationSection(Section):
    """What a generator is asked to write (run.task=generation): how it reads, and what it repeats."""

    prompts: Annotated[
        tuple[str, ...], Field(min_length=1, description="beginnings; an empty one starts from nothing")
    ] = ("",)
    num_texts: Annotated[PositiveInt, Field(description="texts per prompt and control label that are sampled")] = 32
    max_tokens: Annotated[PositiveInt, Field(description="tokens per text, at most")] = 96
    temperature: Annotated[
        float, Field(gt=0.0, description="of the sampled texts; 1 = the model's own probabilities")
    ] = 0.8
    top_p: Annotated[
        PositiveFraction, Field(description="sampled from the most probable tokens that hold so much of the mass")
    ] = 0.95
    num_samples: Annotated[int, Field(ge=0, description="texts per prompt and control label that the report shows")] = 3
    batches: Annotated[
        tuple[PositiveInt, ...], Field(min_length=1, description="texts at once, where speed is timed")
    ] = (1, 8)


_GENERATION = GenerationSection(
    prompts=("",), num_texts=32, max_tokens=96, temperature=0.8, top_p=0.95, num_samples=3, batches=(1, 8)
)


class EvaluateSection(Section):
    """Test-set scores with confidence intervals, scores of the deployed form and under attack, measured latency."""

    batch_size: Annotated[PositiveInt, Field(description="rows per forward pass")] = 64
    bootstrap_samples: Annotated[int, Field(ge=100, description="resamples behind a confidence interval")] = 1000
    confidence_level: Annotated[float, Field(gt=0.5, lt=1.0, description="of the intervals")] = 0.95
    deployed: Annotated[
        Runtime,
        Field(description="the form that goes into production; its scores and bytes are the deployed_* metrics"),
    ] = "onnx-int8"
    robustness: Annotated[RobustnessSection, Field(description="what the models are attacked with")] = (
        RobustnessSection()
    )
    latency: Annotated[LatencySection, Field(description="what is timed, never compared")] = LatencySection()
    reference: Annotated[
        bool,
        Field(
            description="score what needs no network on the same rows: logistic regression on TF-IDF of words and "
            "characters, chosen on validation rows; regression, ordinal: ridge regression on the same; generation: a character 5-gram model"
        ),
    ] = True
    generation: Annotated[GenerationSection, Field(description="run.task=generation: what is written")] = _GENERATION
    judge: Annotated[
        str | None,
        Field(
            min_length=1,
            description="run.task=generation: checkpoint of a classifier that tells the label of what was generated",
        ),
    ] = None

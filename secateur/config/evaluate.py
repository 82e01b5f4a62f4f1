"""``evaluate``: how the models are measured."""

from typing import Annotated, Literal

from pydantic import Field

from secateur.config.base import PositiveInt, Section

Runtime = Literal["torch", "onnx", "onnx-int8"]


class LatencySection(Section):
    """One interleaved run over all models and runtimes."""

    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1, description="where the models are timed")]
    batch: Annotated[PositiveInt, Field(description="rows per call")]
    length: Annotated[PositiveInt, Field(description="tokens per row")]
    num_threads: Annotated[PositiveInt, Field(description="threads of the runtime")]
    repeats: Annotated[int, Field(ge=3, description="timed calls per model, after the warm-up")]


class EvaluateSection(Section):
    """Test-set scores with confidence intervals, and measured latency."""

    batch_size: Annotated[PositiveInt, Field(description="rows per forward pass")]
    bootstrap_samples: Annotated[int, Field(ge=100, description="resamples behind a confidence interval")]
    confidence_level: Annotated[float, Field(gt=0.5, lt=1.0, description="of the intervals")]
    latency: Annotated[LatencySection, Field(description="what is timed, never compared")]

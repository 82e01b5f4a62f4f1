"""What goes over the wire. Limits are part of the types, so that ``/docs`` shows them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from secateur.config.serve import ServeSection


class PredictRequest(BaseModel):
    """Texts to classify.

    Attributes:
        texts: one text or a list.
        probabilities: answer with the probability of every label.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str]
    probabilities: Annotated[bool, Field(description="answer with the probability of every label")] = False


class Answer(BaseModel):
    """What the model says about one text."""

    label: str
    score: Annotated[float, Field(description="probability of the label")]
    probabilities: Annotated[dict[str, float] | None, Field(description="of every label, where asked for")] = None


class ModelName(BaseModel):
    """Which model answered; a folder has no version."""

    name: str
    version: str | None


class PredictResponse(BaseModel):
    """One answer per text, in the order of the request, all by one version."""

    model: ModelName
    predictions: list[Answer]


class ModelDescription(ModelName):
    """The model that answers now, and where it comes from."""

    runtime: str
    labels: list[str]
    max_tokens: int
    loaded: Annotated[str, Field(description="when this process took it over, UTC")]
    files: Annotated[dict[str, str], Field(description="file -> sha256, as they were checked before loading")]
    tags: Annotated[dict[str, str], Field(description="lineage: commit, data, parameters, stage key")]


class Rejected(BaseModel):
    """A version that the alias points at and that is not taken over."""

    version: str
    reason: str


class Health(BaseModel):
    """``ok``, ``degraded`` (answers, but cannot follow the alias) or ``down``."""

    status: str
    live: bool
    ready: bool
    model: ModelName
    following: Annotated[str | None, Field(description="the alias, where there is one")]
    rejected: Rejected | None = None
    registry: Annotated[str | None, Field(description="why the registry did not answer the last time")] = None


class Problem(BaseModel):
    """Every refusal: one line, and the field where one is at fault."""

    detail: str
    field: str | None = None


def request_type(limits: ServeSection) -> type[PredictRequest]:
    """Return the request with the limits of this server."""
    text = Annotated[str, Field(max_length=limits.max_chars)]
    texts = Annotated[
        list[text],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=limits.max_texts, description="one text or a list"),
        WithJsonSchema(_texts_schema(limits)),
    ]
    made: type[PredictRequest] = create_model("PredictRequest", __base__=PredictRequest, texts=(texts, ...))
    return made


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_schema(limits: ServeSection) -> dict[str, Any]:
    text = {"type": "string", "maxLength": limits.max_chars}
    several = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.max_texts}
    return {"anyOf": [text, several], "title": "Texts", "examples": ["what a lovely day"]}

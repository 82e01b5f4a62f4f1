"""What goes over the wire. Limits are part of the types, so that ``/docs`` shows them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from secateur.config.serve import ServeSection


class PredictRequest(BaseModel):
    """Texts to classify.

    Attributes:
        texts: one text or a list; to a model of pairs one pair or a list of pairs.
        probabilities: answer with the probability of every label.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str] | list[list[str]]
    probabilities: Annotated[bool, Field(description="answer with the probability of every label")] = False


class Identified(BaseModel):
    """An answer that clients may speak of later."""

    id: Annotated[str | None, Field(description="to tell /feedback what was right, with serve.live")] = None


class Answer(Identified):
    """What the model says about one text; of an empty one nothing, and why."""

    label: Annotated[str | None, Field(description="null where the text is empty")]
    score: Annotated[float | None, Field(description="probability of the label; null with it")]
    probabilities: Annotated[dict[str, float] | None, Field(description="of every label, where asked for")] = None
    reason: Annotated[str | None, Field(description="why there is no label, where there is none")] = None


class Labels(Identified):
    """What a model that gives any number of labels says about one text; of an empty one nothing, and why."""

    labels: Annotated[
        list[str] | None,
        Field(description="those whose probability is above 0.5, perhaps none; null where it is empty"),
    ]
    scores: Annotated[dict[str, float] | None, Field(description="probability of each of them; null with them")]
    probabilities: Annotated[dict[str, float] | None, Field(description="of every label, where asked for")] = None
    reason: Annotated[str | None, Field(description="why there is no answer, where there is none")] = None


class Number(Identified):
    """What a model that tells numbers says about one text; of an empty one nothing, and why."""

    number: Annotated[float | None, Field(description="in the units of the training rows; null where it is empty")]
    reason: Annotated[str | None, Field(description="why there is no number, where there is none")] = None


class Grade(Identified):
    """What a model that tells grades says about one text; of an empty one nothing, and why."""

    grade: Annotated[str | None, Field(description="the nearest one; null where the text is empty")]
    value: Annotated[float | None, Field(description="where between the grades the text is; null with it")]
    reason: Annotated[str | None, Field(description="why there is no grade, where there is none")] = None


class ModelName(BaseModel):
    """Which model answered; a folder has no version."""

    name: str
    version: str | None


class PredictResponse(BaseModel):
    """One answer per text, in the order of the request, all by one version."""

    model: ModelName
    predictions: list[Answer]


class LabelsResponse(BaseModel):
    """One answer per text, in the order of the request, all by one version."""

    model: ModelName
    predictions: list[Labels]


class EmbedRequest(BaseModel):
    """Texts to embed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str]


class EmbedResponse(BaseModel):
    """One vector per text, in the order of the request, all by one version."""

    model: ModelName
    embeddings: Annotated[list[list[float] | None], Field(description="of length 1; null where a text is empty")]
    reasons: Annotated[
        list[str | None] | None, Field(description="why a text has no vector, where one has none; else not there")
    ] = None


class NumbersResponse(BaseModel):
    """One answer per text, in the order of the request, all by one version."""

    model: ModelName
    predictions: list[Number]


class GradesResponse(BaseModel):
    """One answer per text, in the order of the request, all by one version."""

    model: ModelName
    predictions: list[Grade]


class GenerateRequest(BaseModel):
    """Prompts to continue."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: list[str]
    control: Annotated[str | None, Field(description="what the texts should be, one of the labels of /model")] = None
    max_tokens: int = 128
    temperature: Annotated[float, Field(ge=0.0, le=100.0, description="0 = the most probable token")] = 0.8
    top_p: Annotated[
        float, Field(gt=0.0, le=1.0, description="draw from the most probable tokens that hold so much of the mass")
    ] = 0.95
    seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="the same seed, the same texts")] = 0
    stream: Annotated[bool, Field(description="one prompt: answer with server-sent events as it is written")] = False


class GeneratedText(BaseModel):
    """What was written for one prompt."""

    prompt: Annotated[str, Field(description="as the model read it")]
    text: Annotated[str, Field(description="the prompt and what follows it")]
    tokens: Annotated[int, Field(description="that were written")]
    finished: Annotated[bool, Field(description="the model ended the text; else it was cut")]


class GenerateResponse(BaseModel):
    """One text per prompt, in the order of the request, all by one version."""

    model: ModelName
    texts: list[GeneratedText]


class ModelDescription(ModelName):
    """The model that answers now, and where it comes from."""

    task: str
    runtime: str
    labels: Annotated[list[str], Field(description="that a classifier says, or that a generator can be asked for")]
    max_tokens: int
    loaded: Annotated[str, Field(description="when this process took it over, UTC")]
    files: Annotated[dict[str, str], Field(description="file -> sha256, as they were checked before loading")]
    tags: Annotated[dict[str, str], Field(description="lineage: commit, data, parameters, stage key")]


class Rejected(BaseModel):
    """A version that the alias points at and that is not taken over."""

    version: str
    reason: str


class Probe(BaseModel):
    """What a probe without a token is told."""

    status: str


class Health(BaseModel):
    """``ok``, ``degraded`` (answers, but cannot follow the alias) or ``down``."""

    status: str
    live: bool
    ready: bool
    model: ModelName
    following: Annotated[str | None, Field(description="the alias, where there is one")]
    rejected: Rejected | None = None
    registry: Annotated[str | None, Field(description="why the registry did not answer the last time")] = None


class Counted(BaseModel):
    """Feedback that was counted."""

    counted: bool = True


class Problem(BaseModel):
    """Every refusal: one line, and the field where one is at fault."""

    detail: str
    field: str | None = None


class FeedbackRequest(BaseModel):
    """What was right of one answer."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    id: Annotated[str, Field(max_length=64, description="of the answer, as it was given with it")]


def feedback_type(field: str, *, max_labels: int) -> type[FeedbackRequest]:
    """Return the request of a model whose answers have this field: label, labels, number or grade."""
    kinds: dict[str, Any] = {
        "labels": Annotated[list[str], Field(max_length=max_labels, description="those that are right, perhaps none")],
        "number": Annotated[float, Field(ge=-1e30, le=1e30, description="that is right")],
    }
    kind = kinds.get(field, Annotated[str, Field(max_length=1000, description=f"the {field} that is right")])
    options: dict[str, Any] = {field: (kind, ...)}
    made: type[FeedbackRequest] = create_model("FeedbackRequest", __base__=FeedbackRequest, **options)
    return made


def generate_type(limits: ServeSection) -> type[GenerateRequest]:
    """Return the request with the limits of this server."""
    text = Annotated[str, Field(max_length=limits.max_chars)]
    prompts = Annotated[
        list[text],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=limits.max_texts, description="one beginning or a list; empty = from nothing"),
        WithJsonSchema({**_texts_schema(limits), "title": "Prompt", "examples": ["once upon a time"]}),
    ]
    tokens = Annotated[int, Field(ge=1, le=limits.max_tokens, description="tokens per text, at most")]
    made: type[GenerateRequest] = create_model(
        "GenerateRequest",
        __base__=GenerateRequest,
        prompt=(prompts, [""]),
        max_tokens=(tokens, min(128, limits.max_tokens)),
    )
    return made


def request_type(limits: ServeSection, *, num_texts: int = 1) -> type[PredictRequest]:
    """Return the request with the limits of this server; a model of pairs is given lists of two texts."""
    if num_texts == 2:
        return _pairs_type(Annotated[str, Field(max_length=limits.max_chars)], limits)
    made: type[PredictRequest] = create_model(
        "PredictRequest", __base__=PredictRequest, texts=(_texts_type(limits), ...)
    )
    return made


def embed_type(limits: ServeSection) -> type[EmbedRequest]:
    """Return the request with the limits of this server."""
    made: type[EmbedRequest] = create_model("EmbedRequest", __base__=EmbedRequest, texts=(_texts_type(limits), ...))
    return made


def _texts_type(limits: ServeSection) -> Any:
    text = Annotated[str, Field(max_length=limits.max_chars)]
    return Annotated[
        list[text],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=limits.max_texts, description="one text or a list"),
        WithJsonSchema(_texts_schema(limits)),
    ]


def _pairs_type(text: Any, limits: ServeSection) -> type[PredictRequest]:
    pair = Annotated[list[text], Field(min_length=2, max_length=2)]
    texts = Annotated[
        list[pair],
        BeforeValidator(_as_pairs),
        Field(min_length=1, max_length=limits.max_texts, description="one pair of texts or a list of pairs"),
    ]
    made: type[PredictRequest] = create_model("PredictRequest", __base__=PredictRequest, texts=(texts, ...))
    return made


def _as_pairs(value: Any) -> Any:
    return [value] if isinstance(value, list) and value and all(isinstance(text, str) for text in value) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_schema(limits: ServeSection) -> dict[str, Any]:
    text = {"type": "string", "maxLength": limits.max_chars}
    several = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.max_texts}
    return {"anyOf": [text, several], "title": "Texts", "examples": ["what a lovely day"]}

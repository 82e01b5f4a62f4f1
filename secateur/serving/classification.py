"""``/predict``: labels or a number for texts."""

import math
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from secateur.config.serve import ServeSection
from secateur.inference.prediction import Prediction
from secateur.kinds.base import Kind
from secateur.readers.pairs import as_text, has_words, why_unanswered
from secateur.serving.batching import Answered, Batcher
from secateur.serving.bodies import read_json, request_body
from secateur.serving.feedback import add_feedback_, owner_of
from secateur.serving.figures import Figures
from secateur.serving.live.traffic import Traffic
from secateur.serving.refusals import Refused
from secateur.serving.schema import (
    Answer,
    Grade,
    GradesResponse,
    Labels,
    LabelsResponse,
    ModelName,
    Number,
    NumbersResponse,
    PredictResponse,
    request_type,
)
from secateur.serving.served import Served

_NO_LABEL = "(none)"
_EXAMPLE = '{"texts": ["what a lovely day"]}'
_EXAMPLE_OF_PAIRS = '{"texts": [["what a lovely day", "the sun is out"]]}'


Said = Prediction | str
"""The answer to a text, or why it has none."""


def classify(served: Served, texts: Sequence[str], *, batch_size: int, figures: Figures) -> list[Said]:
    """Classify the texts of a batch; one that is empty has no answer, as for the command ``predict``."""
    asked = [text for text in texts if has_words(text)]
    predictions: list[Prediction] = served.model.predict(asked, batch_size=batch_size) if asked else []
    for prediction in predictions:
        if not (prediction.labels or math.isnan(prediction.number)):
            continue  # a number is no label to count by
        for label in prediction.labels or (_NO_LABEL,):
            figures.labels.labels(label, served.source.version or "").inc()
    said = iter(predictions)
    return [next(said) if has_words(text) else why_unanswered(text) for text in texts]


def classification_routes(
    batcher: Batcher[str, Said],
    settings: ServeSection,
    *,
    kind: Kind,
    num_texts: int = 1,
    watched: Traffic | None = None,
) -> APIRouter:
    """Return the routes of a kind that is asked about texts, or pairs."""
    router = APIRouter()
    answers, respond = _shape_of(kind)
    content = request_type(settings, num_texts=num_texts)
    example = _EXAMPLE_OF_PAIRS if num_texts == 2 else _EXAMPLE

    async def predict(request: Request) -> Response:
        """Answer one text or a list, cleaned as the training set was; an empty text has no answer, and a reason."""
        asked = await read_json(
            request, content, max_bytes=settings.max_body_bytes, timeout_s=settings.timeout_s, example=example
        )
        if asked.probabilities and kind.tells_numbers:
            raise Refused(422, "a number has no probabilities; leave them out", field="probabilities")
        texts = [as_text(text) for text in asked.texts]
        answered = await batcher.answer(texts)
        response = respond(answered, probabilities=asked.probabilities)
        if watched is not None:
            ids = watched.saw(answered.served, texts, answered.results, owner=owner_of(request))
            for prediction, id_ in zip(response.predictions, ids, strict=True):
                if id_ is not None:
                    prediction.id = id_
        return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")

    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=answers,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=example)},
    )
    if watched is not None:
        add_feedback_(router, watched.feedback, settings)
    return router


_Respond = Callable[..., PredictResponse | LabelsResponse | NumbersResponse | GradesResponse]


def _shape_of(kind: Kind) -> tuple[type[BaseModel], _Respond]:
    """Return what an answer of a kind looks like, and what makes one."""
    if kind.tells_numbers:
        return (GradesResponse, _grades) if "grade" in kind.columns else (NumbersResponse, _numbers)
    return (LabelsResponse, _several) if kind.label_sets else (PredictResponse, _response)


def _numbers(answered: Answered[Said], *, probabilities: bool) -> NumbersResponse:
    served = answered.served
    return NumbersResponse(
        model=ModelName(name=served.name, version=served.source.version),
        predictions=[
            Number(number=None, reason=said) if isinstance(said, str) else Number(number=said.number)
            for said in answered.results
        ],
    )


def _grades(answered: Answered[Said], *, probabilities: bool) -> GradesResponse:
    served = answered.served
    return GradesResponse(
        model=ModelName(name=served.name, version=served.source.version),
        predictions=[
            Grade(grade=None, value=None, reason=said)
            if isinstance(said, str)
            else Grade(grade=said.label, value=said.value)
            for said in answered.results
        ],
    )


def _several(answered: Answered[Said], *, probabilities: bool) -> LabelsResponse:
    served = answered.served
    return LabelsResponse(
        model=ModelName(name=served.name, version=served.source.version),
        predictions=[_labels(said, probabilities=probabilities) for said in answered.results],
    )


def _labels(said: Said, *, probabilities: bool) -> Labels:
    if isinstance(said, str):
        return Labels(labels=None, scores=None, reason=said)
    scores = {name: said.scores[name] for name in said.labels}
    if not probabilities:
        return Labels(labels=list(said.labels), scores=scores)
    return Labels(labels=list(said.labels), scores=scores, probabilities=dict(said.scores))


def _response(answered: Answered[Said], *, probabilities: bool) -> PredictResponse:
    served = answered.served
    return PredictResponse(
        model=ModelName(name=served.name, version=served.source.version),
        predictions=[_answer(said, probabilities=probabilities) for said in answered.results],
    )


def _answer(said: Said, *, probabilities: bool) -> Answer:
    if isinstance(said, str):
        return Answer(label=None, score=None, reason=said)
    if not probabilities:
        return Answer(label=said.label, score=said.score)
    return Answer(label=said.label, score=said.score, probabilities=dict(said.scores))

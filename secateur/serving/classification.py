"""``/predict``: labels for texts."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from secateur.config.serve import ServeSection
from secateur.inference.prediction import Prediction
from secateur.readers.pairs import as_text, has_words, why_unanswered
from secateur.serving.batching import Answered, Batcher
from secateur.serving.bodies import read_json, request_body
from secateur.serving.figures import Figures
from secateur.serving.schema import Answer, Labels, LabelsResponse, ModelName, PredictResponse, request_type
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
        for label in prediction.labels or (_NO_LABEL,):
            figures.labels.labels(label, served.source.version or "").inc()
    said = iter(predictions)
    return [next(said) if has_words(text) else why_unanswered(text) for text in texts]


def classification_routes(
    batcher: Batcher[str, Said], settings: ServeSection, *, num_texts: int = 1, sets: bool = False
) -> APIRouter:
    """Return the routes of a kind that is asked about texts, or pairs; ``sets`` of one that gives several labels."""
    router = APIRouter()
    content = request_type(settings, num_texts=num_texts)
    example = _EXAMPLE_OF_PAIRS if num_texts == 2 else _EXAMPLE

    async def predict(request: Request) -> Response:
        """Classify one text or a list, cleaned as the training set was; an empty text has no label, and a reason."""
        asked = await read_json(
            request, content, max_bytes=settings.max_body_bytes, timeout_s=settings.timeout_s, example=example
        )
        texts = [as_text(text) for text in asked.texts]
        answered = await batcher.answer(texts)
        response = (_several if sets else _response)(answered, probabilities=asked.probabilities)
        return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")

    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=LabelsResponse if sets else PredictResponse,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=example)},
    )
    return router


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

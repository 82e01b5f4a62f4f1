"""``/predict``: labels for texts."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from secateur.config.serve import ServeSection
from secateur.inference.prediction import Prediction
from secateur.readers.pairs import as_text
from secateur.serving.batching import Answered, Batcher
from secateur.serving.bodies import read_json, request_body
from secateur.serving.figures import Figures
from secateur.serving.schema import Answer, ModelName, PredictResponse, request_type
from secateur.serving.served import Served

_EXAMPLE = '{"texts": ["what a lovely day"]}'
_EXAMPLE_OF_PAIRS = '{"texts": [["what a lovely day", "the sun is out"]]}'


def classify(served: Served, texts: Sequence[str], *, batch_size: int, figures: Figures) -> list[Prediction]:
    """Classify the texts of a batch."""
    predictions: list[Prediction] = served.model.predict(texts, batch_size=batch_size)
    for prediction in predictions:
        figures.labels.labels(prediction.label, served.source.version or "").inc()
    return predictions


def classification_routes(
    batcher: Batcher[str, Prediction], settings: ServeSection, *, num_texts: int = 1
) -> APIRouter:
    """Return the routes of a kind that is asked about texts, or pairs of them."""
    router = APIRouter()
    content = request_type(settings, num_texts=num_texts)
    example = _EXAMPLE_OF_PAIRS if num_texts == 2 else _EXAMPLE

    async def predict(request: Request) -> Response:
        """Classify one text or a list, cleaned as the training set was."""
        asked = await read_json(
            request, content, max_bytes=settings.max_body_bytes, timeout_s=settings.timeout_s, example=example
        )
        texts = [as_text(text) for text in asked.texts]
        response = _response(await batcher.answer(texts), probabilities=asked.probabilities)
        return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")

    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=PredictResponse,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=example)},
    )
    return router


def _response(answered: Answered[Prediction], *, probabilities: bool) -> PredictResponse:
    served = answered.served
    return PredictResponse(
        model=ModelName(name=served.name, version=served.source.version),
        predictions=[
            Answer(label=p.label, score=p.score, probabilities=dict(p.scores))
            if probabilities
            else Answer(label=p.label, score=p.score)
            for p in answered.results
        ],
    )

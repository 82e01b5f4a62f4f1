"""``/predict``: labels for texts."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from secateur.config.serve import ServeSection
from tasks.serving.batching import Answered, Batcher, QueueFull
from tasks.serving.bodies import Refused, read_json
from tasks.serving.schema import Answer, ModelName, PredictResponse, request_type

_RETRY_AFTER_S = 1


def classification_routes(batcher: Batcher, settings: ServeSection) -> APIRouter:
    """Return the routes of a classifier."""
    router = APIRouter()
    content = request_type(settings)

    async def predict(request: Request) -> Response:
        """Classify one text or a list, cleaned as the training set was."""
        asked = await read_json(request, content, max_bytes=settings.max_body_bytes, timeout_s=settings.timeout_s)
        try:
            async with asyncio.timeout(settings.timeout_s):
                answered = await batcher.classify(asked.texts)
        except QueueFull as error:
            detail = f"{settings.max_queue} texts wait already (serve.max_queue); come again in {_RETRY_AFTER_S} s"
            raise Refused(503, detail, retry_after_s=_RETRY_AFTER_S) from error
        except TimeoutError as error:
            raise Refused(504, f"no answer within {settings.timeout_s:g} s (serve.timeout_s)") from error
        response = _response(answered, probabilities=asked.probabilities)
        return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")

    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=PredictResponse,
        openapi_extra={"requestBody": _body(content.model_json_schema())},
    )
    return router


def _response(answered: Answered, *, probabilities: bool) -> PredictResponse:
    source = answered.served.source
    return PredictResponse(
        model=ModelName(name=source.name, version=source.version),
        predictions=[
            Answer(label=p.label, score=p.score, probabilities=dict(p.scores))
            if probabilities
            else Answer(label=p.label, score=p.score)
            for p in answered.predictions
        ],
    )


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    # The body is read by hand, once and with limits, so FastAPI does not know its type.
    return {"required": True, "content": {"application/json": {"schema": schema}}}

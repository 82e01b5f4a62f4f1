"""``/embed``: vectors for texts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response

from secateur.config.serve import ServeSection
from secateur.readers.pairs import has_words, why_unanswered
from secateur.serving.batching import Answered, Batcher
from secateur.serving.bodies import read_json, request_body
from secateur.serving.schema import EmbedResponse, ModelName, embed_type
from secateur.serving.served import Served

_EXAMPLE = '{"texts": ["what a lovely day"]}'

Vector = npt.NDArray[np.float32] | str
"""The answer to a text, or why it has none."""


def embed(served: Served, texts: Sequence[str], *, batch_size: int) -> list[Vector]:
    """Embed the texts of a batch; one that is empty has no answer, as for the command ``predict``."""
    asked = [text for text in texts if has_words(text)]
    vectors = iter(served.model.embed(asked, batch_size=batch_size).vectors if asked else ())
    return [next(vectors) if has_words(text) else why_unanswered(text) for text in texts]


def embedding_routes(batcher: Batcher[str, Vector], settings: ServeSection) -> APIRouter:
    """Return the routes of a kind that embeds texts."""
    router = APIRouter()
    content = embed_type(settings)

    async def embed_texts(request: Request) -> Response:
        """Embed one text or a list: unit vectors, so that a dot product is a cosine; of an empty text null."""
        asked = await read_json(
            request, content, max_bytes=settings.max_body_bytes, timeout_s=settings.timeout_s, example=_EXAMPLE
        )
        response = _response(await batcher.answer(asked.texts))
        return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")

    router.add_api_route(
        "/embed",
        embed_texts,
        methods=["POST"],
        response_model=EmbedResponse,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=_EXAMPLE)},
    )
    return router


def _response(answered: Answered[Vector]) -> EmbedResponse:
    served, results = answered.served, answered.results
    found = EmbedResponse(
        model=ModelName(name=served.name, version=served.source.version),
        embeddings=[None if isinstance(said, str) else _numbers(said) for said in results],
    )
    if any(isinstance(said, str) for said in results):
        found.reasons = [said if isinstance(said, str) else None for said in results]
    return found


def _numbers(vector: npt.NDArray[np.float32]) -> list[float]:
    """Return numbers with as many digits as fp32 has: all of the double that holds one would be twice the bytes."""
    return [float(f"{value:.9g}") for value in vector.tolist()]

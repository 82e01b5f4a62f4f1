"""``/feedback``: what was right of an answer that this server gave."""

import json

from fastapi import APIRouter, Request, Response

from secateur.config.serve import ServeSection
from secateur.serving.bodies import read_json, request_body
from secateur.serving.live.feedback import Feedback, Truth
from secateur.serving.schema import Counted, feedback_type
from secateur.serving.tokens import Token

_MAX_BYTES = 65_536
_MAX_LABELS = 1000
_EXAMPLES = {"label": "positive", "labels": ["billing"], "number": 3.5, "grade": "4"}


def add_feedback_(router: APIRouter, feedback: Feedback, settings: ServeSection) -> None:
    """Add the route; what it takes has the name that it has in answers."""
    content = feedback_type(feedback.field, max_labels=_MAX_LABELS)
    example = json.dumps({"id": "zJ4nQ0sWv1xkTb2L.0", feedback.field: _EXAMPLES[feedback.field]})
    limit = min(settings.max_body_bytes, _MAX_BYTES)

    async def tell(request: Request) -> Response:
        """Say what was right of one answer, by its id, once; /metrics has the share of right answers."""
        told = await read_json(request, content, max_bytes=limit, timeout_s=settings.timeout_s, example=example)
        given = getattr(told, feedback.field)
        truth: Truth = tuple(sorted(set(given))) if isinstance(given, list) else given
        feedback.tell(told.id, truth, owner=owner_of(request))
        return Response(Counted().model_dump_json(), media_type="application/json")

    router.add_api_route(
        "/feedback",
        tell,
        methods=["POST"],
        response_model=Counted,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=example)},
    )


def owner_of(request: Request) -> str | None:
    """Return the name of the token that a request came with; None without one."""
    owner: Token | None = request.scope.get("secateur.owner")
    return None if owner is None else owner.name

"""``/generate``: texts for prompts, whole or piece by piece."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from secateur.config.serve import ServeSection
from secateur.errors import ModelError
from secateur.inference.decoding import Sampling
from secateur.inference.writing import Asked, Writer, Written
from secateur.serving.batching import Answered, Batcher
from secateur.serving.bodies import read_json, request_body
from secateur.serving.figures import Figures
from secateur.serving.refusals import Refused
from secateur.serving.schema import GeneratedText, GenerateRequest, GenerateResponse, ModelName, generate_type
from secateur.serving.served import Served

_EXAMPLE = '{"prompt": "once upon a time"}'


@dataclass(frozen=True, eq=False)
class Wanted:
    """One text of a request.

    Attributes:
        asked: prompt, label, seed and number.
        sampling: shared by all texts that are written together, but for the seed.
        given_up: set when nobody waits any more; nothing is written after that.
        on_text: is told the text piece by piece.
    """

    asked: Asked
    sampling: Sampling
    given_up: threading.Event
    on_text: Callable[[str], None] | None = None


Outcome = Written | ModelError
Texts = Batcher[Wanted, Outcome]


def write_texts(served: Served, wanted: Sequence[Wanted], *, figures: Figures) -> list[Outcome]:
    """Write the texts of a batch, which ask for the same sampling; what cannot be written is told, not raised."""
    writer: Writer = served.model
    outcomes: list[Outcome | None] = [_problem(served, one) for one in wanted]
    chosen = [place for place, outcome in enumerate(outcomes) if outcome is None]
    if chosen:
        found = writer.write_for(
            [wanted[place].asked for place in chosen],
            sampling=wanted[0].sampling,
            on_text=wanted[chosen[0]].on_text,
            is_wanted=lambda: not all(wanted[place].given_up.is_set() for place in chosen),
        )
        for place, text in zip(chosen, found, strict=True):
            outcomes[place] = text
        figures.tokens.labels(served.source.version or "").inc(sum(len(text.tokens) for text in found))
    return [outcome for outcome in outcomes if outcome is not None]


def generation_routes(batcher: Texts, settings: ServeSection) -> APIRouter:
    """Return the routes of a generator."""
    router = APIRouter()
    content = generate_type(settings)

    async def generate(request: Request) -> Response:
        """Continue one prompt or a list, cleaned as the training set was; with `stream`, as server-sent events."""
        body = await read_json(
            request,
            content,
            max_bytes=settings.max_body_bytes,
            timeout_s=settings.timeout_s,
            example=_EXAMPLE,
        )
        if body.stream:
            return await _streamed(batcher, body)
        wanted = _wanted(body)
        try:
            answered = await batcher.answer(wanted, kind=_kind(body))
        finally:
            wanted[0].given_up.set()
        return Response(_response(answered).model_dump_json(), media_type="application/json")

    router.add_api_route(
        "/generate",
        generate,
        methods=["POST"],
        response_model=GenerateResponse,
        openapi_extra={"requestBody": request_body(content.model_json_schema(), example=_EXAMPLE)},
    )
    return router


def _problem(served: Served, wanted: Wanted) -> ModelError | None:
    try:
        served.model.require_room(wanted.asked)
    except ModelError as error:
        return error
    return None


def _wanted(body: GenerateRequest, on_text: Callable[[str], None] | None = None) -> list[Wanted]:
    given_up = threading.Event()
    sampling = Sampling(body.max_tokens, body.temperature, body.top_p)
    return [
        Wanted(Asked(prompt, body.control, body.seed, row), sampling, given_up, on_text)
        for row, prompt in enumerate(body.prompt)
    ]


def _kind(body: GenerateRequest) -> tuple[int, float, float]:
    """Return what texts share that are written together; the most probable token needs no mass."""
    return (body.max_tokens, body.temperature, body.top_p if body.temperature else 1.0)


async def _streamed(batcher: Texts, body: GenerateRequest) -> Response:
    """Answer with events; what is refused is refused with a status, because nothing is sent before the first one."""
    if len(body.prompt) != 1:
        raise Refused(422, f"stream: one prompt can be streamed, found {len(body.prompt)}", field="stream")
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    wanted = _wanted(body, lambda piece: _tell(loop, pieces, piece))
    # A kind of its own: it shares no batch, so its pieces come as fast as the model writes.
    answer = asyncio.create_task(batcher.answer(wanted, kind=wanted[0]))
    answer.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        first = await pieces.get()
        if first is None:
            _response(answer.result())
    except BaseException:
        _give_up(wanted, answer)
        raise
    return StreamingResponse(_events(first, pieces, answer, wanted), media_type="text/event-stream")


async def _events(
    piece: str | None,
    pieces: asyncio.Queue[str | None],
    answer: "asyncio.Task[Answered[Outcome]]",
    wanted: list[Wanted],
) -> AsyncIterator[str]:
    try:
        while piece is not None:
            yield _event(json.dumps({"text": piece}, ensure_ascii=False))
            piece = await pieces.get()
        try:
            yield _event(_response(answer.result()).model_dump_json(), name="done")
        except Refused as error:
            yield _event(json.dumps({"detail": error.detail}, ensure_ascii=False), name="error")
    finally:
        _give_up(wanted, answer)


def _tell(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str | None], piece: str) -> None:
    if piece:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)


def _give_up(wanted: Sequence[Wanted], answer: "asyncio.Task[Any]") -> None:
    wanted[0].given_up.set()
    answer.cancel()


def _event(data: str, *, name: str | None = None) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {data}\n\n"


def _response(answered: Answered[Outcome]) -> GenerateResponse:
    texts = []
    for place, outcome in enumerate(answered.results):
        if isinstance(outcome, ModelError):
            field = "control" if "asked for" in str(outcome) else f"prompt.{place}"
            raise Refused(422, f"{field}: {outcome}", field=field) from outcome
        texts.append(
            GeneratedText(
                prompt=outcome.prompt, text=outcome.text, tokens=len(outcome.tokens), finished=outcome.finished
            )
        )
    served = answered.served
    return GenerateResponse(model=ModelName(name=served.name, version=served.source.version), texts=texts)

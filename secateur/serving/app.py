"""The application: routes, refusals, and what runs beside the requests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur import __version__
from secateur.config.serve import ServeSection
from secateur.registry.tags import REPRODUCIBLE, SIGNATURE, SIGNED, STATE
from secateur.serving.batching import Batcher
from secateur.serving.classification import Said, classification_routes, classify
from secateur.serving.documentation import documentation
from secateur.serving.embedding import Vector, embed, embedding_routes
from secateur.serving.figures import Figures
from secateur.serving.following import Models, Rejection
from secateur.serving.generation import Texts, generation_routes, write_texts
from secateur.serving.guard import PROBES, Guard, Guarded, route_of
from secateur.serving.live.traffic import Traffic
from secateur.serving.refusals import Refused, without_folders
from secateur.serving.schema import Health, ModelDescription, ModelName, Probe, Problem, Rejected
from secateur.serving.tokens import Tokens

_log = logging.getLogger(__name__)

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_REFUSALS = (400, 401, 408, 413, 415, 421, 422, 429, 500, 503, 504)
_ANYBODY = Guarded()
_LINEAGE = (*SIGNED, STATE, REPRODUCIBLE, SIGNATURE)
"""Tags that clients see: origin and digests, no folder and no person."""


def create_app(
    models: Models,
    settings: ServeSection,
    figures: Figures,
    *,
    guarded: Guarded = _ANYBODY,
    watched: Traffic | None = None,
) -> FastAPI:
    """Make the application around a loaded model.

    Args:
        models: the model, and its successors.
        settings: limits.
        figures: what ``/metrics`` shows.
        guarded: what is asked of every request.
        watched: what looks at the traffic, where anybody asked for it.
    """
    batcher, routes = _routes_of(models, settings, figures, watched)
    app = FastAPI(
        title="secateur",
        version=__version__,
        description="A pruned model behind HTTP. Every refusal is one line in `detail`.",
        lifespan=_beside(models, batcher, guarded, watched, poll_s=settings.poll_s),
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        responses={code: {"model": Problem} for code in _REFUSALS},
    )
    app.include_router(routes)
    _add_looks(app, models, batcher, figures, open_to_all=guarded.tokens is None)
    _add_refusals(app)
    app.add_middleware(Guard, guarded=guarded)
    app.add_middleware(_Counted, figures=figures)
    return app


def _routes_of(
    models: Models, settings: ServeSection, figures: Figures, watched: Traffic | None
) -> "tuple[Batcher[Any, Any], APIRouter]":
    """Return the queue and the routes of what the model can do."""
    limits: dict[str, Any] = {
        "max_batch": settings.max_batch,
        "max_wait_ms": settings.max_wait_ms,
        "max_queue": settings.max_queue,
        "timeout_s": settings.timeout_s,
        "figures": figures,
    }
    if models.current.kind.route == "generate":
        texts: Texts = Batcher(lambda: models.current, partial(write_texts, figures=figures), **limits)
        return texts, generation_routes(texts, settings)
    if models.current.kind.route == "embed":
        embedding = partial(embed, batch_size=settings.max_batch)
        vectors = Batcher[str, Vector](lambda: models.current, embedding, **limits)
        return vectors, embedding_routes(vectors, settings)
    work = partial(classify, batch_size=settings.max_batch, figures=figures)
    labels = Batcher[str, Said](lambda: models.current, work, **limits)
    kind, num_texts = models.current.kind, models.current.num_texts or 1
    return labels, classification_routes(labels, settings, kind=kind, num_texts=num_texts, watched=watched)


def _beside(
    models: Models, batcher: Batcher[Any, Any], guarded: Guarded, watched: Traffic | None, *, poll_s: float
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = [asyncio.create_task(batcher.run()), asyncio.create_task(models.follow(poll_s=poll_s))]
        if guarded.tokens is not None:
            running.append(asyncio.create_task(_reread(guarded.tokens, every_s=poll_s)))
        if watched is not None:
            running.append(asyncio.create_task(watched.run()))
            if watched.shadow is not None:
                running.append(asyncio.create_task(watched.shadow.run(poll_s=poll_s)))
        try:
            yield
        finally:
            # The server has waited for every open request by now.
            for task in running:
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                except Exception:  # noqa: BLE001  what goes on beside the server must not keep it from ending as it should
                    _log.exception("a task beside the server had ended")
            batcher.close()

    return lifespan


async def _reread(tokens: Tokens, *, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(tokens.reload)


def _add_looks(
    app: FastAPI, models: Models, batcher: Batcher[Any, Any], figures: Figures, *, open_to_all: bool
) -> None:
    def health() -> Health:
        served, rejected = models.current, models.rejected
        degraded = rejected is not None or models.registry_problem is not None
        return Health(
            status="down" if not batcher.running else "degraded" if degraded else "ok",
            live=batcher.running,
            ready=batcher.running,
            model=ModelName(name=served.name, version=served.source.version),
            following=models.alias,
            rejected=None if rejected is None else _shown(rejected),
            registry=None if models.registry_problem is None else without_folders(models.registry_problem),
        )

    async def show_health(response: Response) -> Health:
        """Say whether requests are answered, by which version, and whether the alias can be followed."""
        found = health()
        response.status_code = 200 if found.ready else 503
        return found

    async def show_probe(response: Response) -> Probe:
        """Say in a word what ``/health`` says: whoever has no token learns no more."""
        found = await show_health(response)
        return Probe(status=found.status)

    async def show_model() -> ModelDescription:
        """Describe the model that answers: version, digests, lineage."""
        served = models.current
        return ModelDescription(
            name=served.name,
            version=served.source.version,
            task=served.kind.name,
            runtime=served.source.runtime,
            labels=list(served.labels),
            max_tokens=served.max_tokens,
            loaded=served.loaded,
            files=served.files,
            tags={tag: text for tag, text in served.source.tags.items() if tag in _LINEAGE},
        )

    async def show_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(figures.text(), media_type=_EXPOSITION)

    async def show_documentation() -> Response:
        return documentation(app.openapi())

    app.add_api_route("/docs", show_documentation, include_in_schema=False, response_class=Response)
    app.add_api_route("/health", show_health, response_model=Health)
    for path in PROBES:
        show = show_health if open_to_all else show_probe
        app.add_api_route(path, show, include_in_schema=False, response_model=Health if open_to_all else Probe)
    app.add_api_route("/model", show_model, response_model=ModelDescription)
    app.add_api_route("/metrics", show_metrics, response_class=Response)


def _shown(rejected: Rejection) -> Rejected:
    return Rejected(version=rejected.version, reason=without_folders(rejected.reason))


def _add_refusals(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error.response()

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path if len(request.url.path) <= 80 else f"{request.url.path[:80]}…"
        if error.status_code == 404:
            return Refused(404, f"there is no {path}; /docs lists what there is").response()
        detail = f"{request.method[:20]} {path}: {error.detail}"
        return Refused(error.status_code, detail, headers=dict(error.headers or {})).response()

    async def unexpected(_: Request, error: Exception) -> Response:
        detail = f"the model failed on this request ({type(error).__name__}); the server's log says more"
        return Refused(500, detail).response()

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(Exception, unexpected)


class _Counted:
    """Counts requests by route and status, and their time."""

    def __init__(self, app: ASGIApp, *, figures: Figures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            route = route_of(scope)
            self._figures.requests.labels(route, str(status)).inc()
            self._figures.request_seconds.labels(route).observe(time.perf_counter() - start)

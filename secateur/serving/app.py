"""The application: routes, refusals, and what runs beside the requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur import __version__
from secateur.config.serve import ServeSection
from secateur.inference.prediction import Prediction
from secateur.serving.batching import Batcher
from secateur.serving.bodies import Refused
from secateur.serving.classification import classification_routes, classify
from secateur.serving.documentation import documentation
from secateur.serving.figures import Figures
from secateur.serving.following import Models
from secateur.serving.generation import Texts, generation_routes, write_texts
from secateur.serving.schema import Health, ModelDescription, ModelName, Problem, Rejected

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def create_app(models: Models, settings: ServeSection, figures: Figures) -> FastAPI:
    """Make the application around a loaded model.

    Args:
        models: the model, and its successors.
        settings: limits.
        figures: what ``/metrics`` shows.
    """
    batcher, routes = _routes_of(models, settings, figures)
    app = FastAPI(
        title="secateur",
        version=__version__,
        description="A pruned model behind HTTP. Every refusal is one line in `detail`.",
        lifespan=_beside(models, batcher, poll_s=settings.poll_s),
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        responses={code: {"model": Problem} for code in (400, 408, 413, 415, 422, 500, 503, 504)},
    )
    app.include_router(routes)
    _add_looks(app, models, batcher, figures)
    _add_refusals(app)
    app.add_middleware(_Counted, figures=figures)
    return app


def _routes_of(models: Models, settings: ServeSection, figures: Figures) -> "tuple[Batcher[Any, Any], APIRouter]":
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
    work = partial(classify, batch_size=settings.max_batch, figures=figures)
    labels = Batcher[str, Prediction](lambda: models.current, work, **limits)
    return labels, classification_routes(labels, settings, num_texts=models.current.num_texts or 1)


def _beside(
    models: Models, batcher: Batcher[Any, Any], *, poll_s: float
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = [asyncio.create_task(batcher.run()), asyncio.create_task(models.follow(poll_s=poll_s))]
        try:
            yield
        finally:
            # The server has waited for every open request by now.
            for task in running:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            batcher.close()

    return lifespan


def _add_looks(app: FastAPI, models: Models, batcher: Batcher[Any, Any], figures: Figures) -> None:
    def health() -> Health:
        source, rejected = models.current.source, models.rejected
        degraded = rejected is not None or models.registry_problem is not None
        return Health(
            status="down" if not batcher.running else "degraded" if degraded else "ok",
            live=batcher.running,
            ready=batcher.running,
            model=ModelName(name=source.name, version=source.version),
            following=models.alias,
            rejected=None if rejected is None else Rejected(version=rejected.version, reason=rejected.reason),
            registry=models.registry_problem,
        )

    async def show_health(response: Response) -> Health:
        """Say whether requests are answered, by which version, and whether the alias can be followed."""
        found = health()
        response.status_code = 200 if found.ready else 503
        return found

    async def show_model() -> ModelDescription:
        """Describe the model that answers: version, digests, lineage."""
        served = models.current
        return ModelDescription(
            name=served.source.name,
            version=served.source.version,
            task=served.kind.name,
            runtime=served.source.runtime,
            labels=list(served.labels),
            max_tokens=served.max_tokens,
            loaded=served.loaded,
            files=served.files,
            tags=served.source.tags.ours,
        )

    async def show_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(figures.text(), media_type=_EXPOSITION)

    async def show_documentation() -> Response:
        return documentation(app.openapi())

    app.add_api_route("/docs", show_documentation, include_in_schema=False, response_class=Response)
    for path in ("/health", "/health/live", "/health/ready"):
        app.add_api_route(path, show_health, include_in_schema=path == "/health", response_model=Health)
    app.add_api_route("/model", show_model, response_model=ModelDescription)
    app.add_api_route("/metrics", show_metrics, response_class=Response)


def _add_refusals(app: FastAPI) -> None:
    def problem(status: int, detail: str, *, field: str | None = None) -> JSONResponse:
        return JSONResponse(Problem(detail=detail, field=field).model_dump(exclude_none=True), status_code=status)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        answer = problem(error.status, error.detail, field=error.field)
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return problem(404, f"there is no {request.url.path}; /docs lists what there is")
        answer = problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    async def unexpected(_: Request, error: Exception) -> Response:
        return problem(500, f"the model failed on this request ({type(error).__name__}); the server's log says more")

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
            # Of unknown paths there are as many as somebody cares to try.
            route = scope["route"].path if "route" in scope else "other"
            self._figures.requests.labels(route, str(status)).inc()
            self._figures.request_seconds.labels(route).observe(time.perf_counter() - start)

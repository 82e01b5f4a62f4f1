"""A real server in a thread of the test, on a free port."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from secateur.config.serve import ServeSection
from secateur.serving.app import create_app
from secateur.serving.figures import Figures
from secateur.serving.following import Models
from secateur.serving.guard import Guarded
from secateur.serving.live.shadow import Shadow
from secateur.serving.live.traffic import Traffic
from secateur.serving.served import Served, load
from secateur.serving.server import certificates_of, configuration_of, guarded_by, watched_by
from secateur.workflow.project import Project


@dataclass
class Running:
    """A server and its insides."""

    url: str
    models: Models
    loop: asyncio.AbstractEventLoop
    client: httpx.Client
    guarded: Guarded
    watched: Traffic | None = None

    def predict(self, texts: Any, **others: Any) -> httpx.Response:
        """Ask."""
        return self.client.post("/predict", json={"texts": texts, **others})

    def look(self) -> None:
        """Let the server look at its alias now."""
        asyncio.run_coroutine_threadsafe(self.models.look(), self.loop).result(timeout=60)

    @property
    def shadow(self) -> Shadow:
        """Another version that is asked the same."""
        assert self.watched is not None
        assert self.watched.shadow is not None
        return self.watched.shadow

    def tick(self) -> None:
        """Let the server compare its traffic now."""
        assert self.watched is not None
        asyncio.run_coroutine_threadsafe(self.watched.tick(write=True), self.loop).result(timeout=60)

    def wait_for(self, condition: Callable[[], bool], *, within_s: float = 30) -> None:
        """Wait until something holds."""
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)


@contextmanager
def running(
    project: Project, reference: str, *, served: Callable[[Served], Served] | None = None, **settings: Any
) -> Iterator[Running]:
    """Serve a model until the block ends.

    Args:
        project: whose registry.
        reference: what to serve.
        served: wraps the first model, to make it slow or odd.
        settings: fields of ``ServeSection``.
    """
    section = ServeSection(**{"poll_s": 3600.0, **settings})
    first = load(project, reference, num_threads=1)
    figures = Figures.make()
    watched = watched_by(project, section, first, figures)
    models = Models(
        served(first) if served else first,
        project=project,
        reference=reference,
        num_threads=1,
        figures=figures,
        watched=watched,
    )
    guarded = guarded_by(section, root=project.root)
    certificates = certificates_of(project, section)
    app = create_app(models, section, figures, guarded=guarded, watched=watched)
    server = uvicorn.Server(configuration_of(section, app, certificates))
    listener = socket.create_server(("127.0.0.1", 0))
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listener])

    factory = server.config.get_loop_factory()
    thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=factory).run(main()))
    thread.start()
    url = f"http{'' if certificates is None else 's'}://127.0.0.1:{listener.getsockname()[1]}"
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(base_url=url, timeout=30, verify=certificates is None) as client:
        try:
            yield Running(url, models, loops[0], client, guarded, watched)
        finally:
            server.should_exit = True
            client.close()
            thread.join(timeout=30)
            assert not thread.is_alive()

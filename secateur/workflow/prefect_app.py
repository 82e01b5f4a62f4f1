"""The Prefect server that we start: ``python -m secateur.workflow.prefect_app PORT``.

It ends when its standard input does.

It answers the pages that it serves itself and programs that hold its key, nobody else. Prefect checks the key and the
CSRF token; that a request was not sent by another page, or to a name that somebody has pointed at this machine, is
checked here.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from secateur.processes.garbage import SELDOM

HOST = "127.0.0.1"
OPEN = "/secateur-open"
"""Path of the page that hands the key to Prefect's pages: it stands behind the ``#``, which no server is sent."""

_NAMES = (HOST, "localhost")
_HAND_OVER = b"""<!DOCTYPE html><meta charset="utf-8"><title>Prefect</title>
<script>localStorage.setItem("prefect-password", btoa(location.hash.slice(1))); location.replace("/");</script>"""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def origins(port: int) -> list[str]:
    """Return where a page comes from that this server has served."""
    return [f"http://{name}:{port}" for name in _NAMES]


class OwnPagesOnly:
    """Refuse requests of foreign pages, and under foreign names, before the application sees them."""

    def __init__(self, app: _App, *, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}".encode() for name in _NAMES}
        self._origins = {origin.encode() for origin in origins(port)}

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer as ASGI asks."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        hosts = {value for name, value in scope["headers"] if name == b"host"}
        came_from = {value for name, value in scope["headers"] if name == b"origin"}
        if not hosts or hosts - self._hosts or came_from - self._origins:
            await _refuse(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == OPEN:
            await _answer(send, 200, _HAND_OVER, b"text/html; charset=utf-8")
        else:
            await self._app(scope, receive, send)


async def _refuse(scope: _Message, receive: _Receive, send: _Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, 421, b"this server answers its own pages only\n", b"text/plain")


async def _answer(send: _Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _end_with_input() -> None:
    """End when whoever started this has ended, by whatever means: the kernel closes the other end then."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(port: int, *, pages: bool) -> None:
    """Serve until the input ends.

    Args:
        port: of the loopback interface.
        pages: with Prefect's pages, schedules and events; else only what a single run records.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()
    gc.set_threshold(*SELDOM)
    # By the environment, because Prefect's services ask for the same application again.
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    if not pages:
        os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    import uvicorn
    from prefect.server.api.server import create_app

    app = OwnPagesOnly(create_app(), port=port)
    uvicorn.run(app, host=HOST, port=port, log_level="warning", lifespan="on", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main(int(sys.argv[1]), pages="--no-pages" not in sys.argv[2:])

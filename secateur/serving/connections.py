"""Connections: how many there may be, and how long one may say nothing.

uvicorn ends a connection that is idle after a request, and waits for ever for the first one, or for the rest of one
that has begun: 50 half-open ones stayed until they were closed by the other side, and as many as there are descriptors
shut everybody out.
"""

import logging
import resource
from asyncio import TimerHandle, Transport
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_BACKLOG = 1024
_OWN_DESCRIPTORS = 96
"""Files of the model, the registry and the log, and of a version that is taken over."""

_log = logging.getLogger(__name__)
_DETAIL = b'{"detail":"all connections are in use (serve.max_connections); come again in 1 s"}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_DETAIL), _DETAIL)
)


@dataclass(frozen=True)
class Room:
    """What the descriptors of a process allow.

    Attributes:
        connections: at once.
        backlog: connections that are taken from the kernel in one go, before any is counted.
    """

    connections: int
    backlog: int = _BACKLOG


def make_room(max_connections: int) -> Room:
    """Return how many connections there is room for; the limit of open files is raised as far as that takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + _BACKLOG + _OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return Room(max_connections)
    free = max(soft - _OWN_DESCRIPTORS, soft // 2)
    room = Room(min(max_connections, 2 * free // 3), min(_BACKLOG, free // 3))
    if room.connections < max_connections:
        _log.warning(
            "%d connections at once instead of %d (serve.max_connections): this process may open %d files (ulimit -n)",
            *(room.connections, max_connections, soft),
        )
    return room


@dataclass(eq=False)
class Connections:
    """Makes the protocol of every connection, and knows which of them wait for a request.

    Attributes:
        most: connections at once. One more takes the place of who has waited longest, first of those that never asked;
            where all are at work, it is refused.
        header_timeout_s: from the connection, or the first byte after an answer, to the end of the headers.
        unheard: connections without a request, oldest first.
        idle: connections between two requests, oldest first.
    """

    most: int
    header_timeout_s: float
    unheard: "dict[_Connection, None]" = field(default_factory=dict)
    idle: "dict[_Connection, None]" = field(default_factory=dict)

    def __call__(self, *arguments: Any, **named: Any) -> "_Connection":
        """Make the protocol of a connection; uvicorn calls this."""
        return _Connection(*arguments, those=self, **named)

    def make_room(self) -> bool:
        """End the connection that has waited longest, if there is one."""
        for waiting in (self.unheard, self.idle):
            for connection in waiting:
                del waiting[connection]
                connection.end()
                return True
        return False

    def forget(self, connection: "_Connection") -> None:
        """Take note that a connection waits no longer."""
        self.unheard.pop(connection, None)
        self.idle.pop(connection, None)


class _Connection(H11Protocol):
    """uvicorn's protocol with a limit on silence."""

    def __init__(self, *arguments: Any, those: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._those = those
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        """Let in, in the place of somebody else where all places are taken."""
        super().connection_made(transport)
        if len(self.connections) > self._those.most and not self._those.make_room():
            transport.write(_FULL)
            transport.close()
            return
        self._those.unheard[self] = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget."""
        self._wait_no_longer()
        self._those.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; headers that are not complete must become so in time."""
        super().data_received(data)
        if self._silent:
            # What comes byte by byte has as much time as what comes at once.
            if self._timer is None and self.timeout_keep_alive_task is None:
                self._wait()
        else:
            self._wait_no_longer()
            self._those.forget(self)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._silent and not self.transport.is_closing():
            self._those.idle[self] = None
            if self._timer is None and self.conn.trailing_data[0]:  # the next request has begun already
                self._wait()

    def shutdown(self) -> None:
        """Say with the last answer that it is the last one."""
        super().shutdown()
        if not self._silent:
            # Of the scope, since Starlette puts a list of its own there.
            self.scope["headers"] = [*self.scope["headers"], (b"connection", b"close")]

    def end(self) -> None:
        """Close a connection that waits."""
        self._wait_no_longer()
        self.timeout_keep_alive_handler()

    @property
    def _silent(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self._those.header_timeout_s, self.end)

    def _wait_no_longer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""A TCP proxy that does to connections what a network may do to them. Standard library only.

Once so many bytes have passed, ``cut`` ends all connections and lets later ones through, as a router does that starts
again; ``gone`` ends them and all that come after; ``stall`` lets nothing through any more and says nothing, as a
firewall does that forgets. ``heal`` lets everything through again, and ends what has stalled.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

Cut = Literal["cut", "gone", "stall"]

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing is a reset, not a polite end."""

_LOOK_SECONDS = 0.05


class Proxy:
    """Listens on a free port of loopback or at a path, and passes on what comes to somewhere else."""

    def __init__(self, target: tuple[str, int] | Path, *, at: Path | None = None) -> None:
        """Listen.

        Args:
            target: host and port, or the path of a Unix socket.
            at: path of a Unix socket to listen at, instead of a port.
        """
        self._target = target
        if at is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(at))
            self._listener.listen(64)
        self.port = 0 if at is not None else int(self._listener.getsockname()[1])
        self.passed = 0
        self._lock, self._generation = threading.Lock(), 0
        self._how: Cut | None = None
        self._left = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        """Return it."""
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End it and all its connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # who waits for a connection sees it
        self._listener.close()
        self._generation += 1

    def disturb(self, how: Cut, *, after: int) -> None:
        """Do ``how`` once ``after`` more bytes have passed, those of both directions together."""
        with self._lock:
            self._how, self._left = how, after
            if after <= 0:
                self._strike()

    def heal(self) -> None:
        """Let everything through."""
        with self._lock:
            if self._how == "stall":
                self._generation += 1
            self._how = None

    def _strike(self) -> None:
        if self._how != "stall":
            self._generation += 1
        if self._how == "cut":
            self._how = None

    def _passes(self, count: int) -> bool:
        """Count bytes, and tell whether they may go on."""
        with self._lock:
            self.passed += count
            if self._how is None:
                return True
            self._left -= count
            if self._left > 0:
                return True
            self._strike()
            return False

    def _does(self, how: Cut) -> bool:
        return self._how == how and self._left <= 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._does("gone"):
                _reset(client)
            else:
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Pass bytes on until both sides have ended, or the network has."""
        born = self._generation
        server = socket.socket(socket.AF_UNIX if isinstance(self._target, Path) else socket.AF_INET)
        other, reading = {client: server, server: client}, [client, server]
        try:
            server.connect(str(self._target) if isinstance(self._target, Path) else self._target)
            while reading and born == self._generation:
                for side in select.select(reading, [], [], _LOOK_SECONDS)[0]:
                    if self._does("stall"):
                        time.sleep(_LOOK_SECONDS)  # nothing is read either
                    elif not (part := side.recv(4096)):
                        other[side].shutdown(socket.SHUT_WR)
                        reading.remove(side)
                    elif self._passes(len(part)):
                        other[side].sendall(part)
        except OSError:
            reading = [client]
        for side in other:
            _reset(side) if reading else side.close()


def _reset(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    side.close()

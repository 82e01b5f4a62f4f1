"""The names that a server answers to.

A page can make its own name point at this machine (DNS rebinding), and is then of the same origin as this server for
every browser; its requests carry that name. An address is no name, and nobody can make it point elsewhere.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import final

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY = "*"


@final
class Hosts:
    """Which ``Host`` headers are answered: loopback names, addresses, and the names that were allowed."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Allow names; ``*`` allows all."""
        self._names = {name.lower() for name in (*_LOOPBACK, *allowed)}

    def include(self, host: str) -> bool:
        """Tell whether the value of a header ``Host``, with or without a port, is one of them."""
        name = _name(host.strip().lower())
        if name in self._names or ANY in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """Return a header's name or address without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")

"""The names that a server answers to.

A page can make its own name point at this machine (DNS rebinding), and is then of the same origin as this server for
every browser; its requests carry that name. An address is no name, and nobody can make it point elsewhere.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import final

from secateur.errors import ConfigError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY = "*"
_HOST = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]*/\s]+?)\.?)(?::[0-9]+)?")


@final
class Hosts:
    """Which ``Host`` headers are answered: loopback names, addresses, and the names that were allowed."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Allow names, read as those of requests are: case, a port and a last dot do not count; ``*`` allows all.

        Raises:
            ConfigError: no request can have such a name.
        """
        self._names = {name if name == ANY else _allowed(name) for name in (*_LOOPBACK, *allowed)}

    def include(self, host: str) -> bool:
        """Tell whether the value of a header ``Host``, with or without a port, is one of them."""
        name = _name(host)
        return ANY in self._names or name in self._names or (name is not None and _is_address(name))


def _allowed(given: str) -> str:
    # An address of version 6 is listened on without the brackets that a header has.
    name = given if _is_address(given) else _name(given)
    if name is None:
        raise ConfigError(
            f"this server cannot have the name {given[:80]!r} (--allow-host, serve.allowed_hosts): a name is whole and "
            "without https://, as models.example.org is; * alone stands for any"
        )
    return name


def _name(host: str) -> str | None:
    """Return a header's name or address without its port; None for what is neither."""
    found = _HOST.fullmatch(host.strip().lower())
    return None if found is None else found[1] or found[2]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

"""Who asks for what happens to a version, and when."""

import getpass
import os
import socket
from datetime import UTC, datetime

_WHO_VARIABLE = "SECATEUR_USER"


def who_asks() -> str:
    """Return ``SECATEUR_USER`` or user@host."""
    return os.environ.get(_WHO_VARIABLE) or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    """Return the name of the user, or the number where a container gave none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def now() -> str:
    """Return the time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()

"""The tracking server that the environment names: whether it answers, and what went wrong, without importing MLflow."""

import os
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from secateur.errors import ProjectError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SECONDS = 10.0
_OF_REGISTRY = ("mlflow", "requests", "urllib3", "sqlalchemy")
_OF_STORE = ("botocore", "aiobotocore", "aiohttp")
"""Packages whose errors speak of a server, or of a database, that did not do what it was asked for."""

_SECRET = re.compile(r"(?<=://)[^/@\s]*@")
_STATEMENT = re.compile(r"\[SQL:|\(Background on this error")
"""Where the statement begins behind what a database says."""

_MOST_CHARS = 300


def require_answer() -> None:
    """Do nothing when the registry is a local database, or its server answers.

    MLflow's own client would try for minutes, and then end in a page of nested errors.

    Raises:
        ProjectError: the server does not answer.
    """
    uri = os.environ.get(URI_VARIABLE, "")
    if not uri.startswith(("http://", "https://")):
        return
    shown = without_secret(uri)
    try:
        with urllib.request.urlopen(f"{shown.rstrip('/')}/health", timeout=_SECONDS):  # noqa: S310  # http, see above
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return  # it is there; whether it wants a key, only MLflow's client knows
        reason = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    raise ProjectError(
        f"{URI_VARIABLE}={shown} does not answer ({reason}); start that server, correct the address, or unset it to "
        "use the registry in this project's mlflow.db"
    )


def line_of(error: Exception) -> str | None:
    """Return one line for what a registry or a store ended with in the middle of a command; None for any other error.

    A server that is not there at all is told before anything is done (``require_answer``).
    """
    package = type(error).__module__.partition(".")[0]
    if package not in (*_OF_REGISTRY, *_OF_STORE):
        return None
    uri = os.environ.get(URI_VARIABLE)
    registry = "this project's registry" if not uri else f"the registry {without_secret(uri)}"
    said = _SECRET.sub("", " ".join(_STATEMENT.split(str(error))[0].split())) or type(error).__name__
    said = said if len(said) <= _MOST_CHARS else f"{said[:_MOST_CHARS]}..."
    place = registry if package in _OF_REGISTRY else "the store of the data"
    return f"{place} did not do what it was asked for: {said}; what is finished is kept, the same command goes on"


def without_secret(uri: str) -> str:
    """Return an address without user and password, for messages and for a question that needs neither."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

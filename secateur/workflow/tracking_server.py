"""The tracking server that the environment names: whether it answers, asked without importing MLflow."""

import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from secateur.errors import ProjectError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SECONDS = 10.0


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


def without_secret(uri: str) -> str:
    """Return an address without user and password, for messages and for a question that needs neither."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

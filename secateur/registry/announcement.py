"""Telling the outside that the champion changed. It never undoes the change."""

import hashlib
import hmac
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

from secateur.files import to_json

SECRET_VARIABLE = "SECATEUR_WEBHOOK_SECRET"  # noqa: S105  # its name, not its value


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to an address that nobody allowed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return nothing, so that the redirect itself is the error."""


def post(address: str, event: Mapping[str, Any], *, timeout_s: float) -> str | None:
    """Send an event as JSON by POST; return what went wrong in one line, None when nothing did.

    With a secret in ``SECATEUR_WEBHOOK_SECRET`` the header ``X-Secateur-Signature: sha256=...`` holds the HMAC-SHA256
    of ``<X-Secateur-Timestamp>.<body>``.

    Args:
        address: checked by the schema of params.yaml: https, or http on this machine.
        event: JSON values.
        timeout_s: of the connection and of every read.
    """
    body = to_json(event).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "secateur"}
    secret = os.environ.get(SECRET_VARIABLE)
    if secret:
        timestamp = str(int(datetime.now(UTC).timestamp()))
        headers |= {"X-Secateur-Timestamp": timestamp, "X-Secateur-Signature": signature(secret, timestamp, body)}
    request = urllib.request.Request(address, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        return f"promote.webhook {address} answered {error.code}"
    except (OSError, HTTPException) as error:
        return f"promote.webhook {address} was not reached: {' '.join(str(error).split())}"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the header that proves who sent a body, and when."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()

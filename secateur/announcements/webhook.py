"""One POST to a webhook: signed, with a limit on its time, tried again where that can help."""

import hashlib
import hmac
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.parse import urlsplit

SECRET_VARIABLE = "SECATEUR_WEBHOOK_SECRET"  # noqa: S105  # its name, not its value

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""

_MAX_WAIT_S = 30.0


@dataclass(frozen=True)
class Letter:
    """What is to be posted.

    Attributes:
        address: checked by the schema of params.yaml: https, or http on this machine.
        body: JSON.
        key: the header ``Idempotency-Key``, by which a receiver knows what it was told before.
    """

    address: str
    body: str
    key: str


@dataclass(frozen=True)
class Sent:
    """What became of a letter.

    Attributes:
        problem: in one line; None when it was taken.
        again: whether it can be tried again later.
    """

    problem: str | None
    again: bool = False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to an address that nobody allowed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return nothing, so that the redirect itself is the error."""


def post(letter: Letter, *, timeout_s: float, tries: int, backoff_s: float) -> Sent:
    """Post a letter, and again after ``backoff_s``, twice that, ... while the other side is not there or asks to wait.

    With a secret in ``SECATEUR_WEBHOOK_SECRET`` the header ``X-Secateur-Signature: sha256=...`` holds the HMAC-SHA256
    of ``<X-Secateur-Timestamp>.<body>``.

    Args:
        letter: what, and where.
        timeout_s: of the connection and of every read.
        tries: in all.
        backoff_s: seconds before the second one; no wait is longer than 30 s.
    """
    sent = Sent(None)
    for number in range(tries):
        if number:
            time.sleep(min(backoff_s * 2 ** (number - 1), _MAX_WAIT_S))
        sent = _once(letter, timeout_s=timeout_s)
        if not sent.again:
            break
    return sent


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the header that proves who sent a body, and when."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _once(letter: Letter, *, timeout_s: float) -> Sent:
    body = letter.body.encode()
    headers = {"Content-Type": "application/json", "User-Agent": "secateur", "Idempotency-Key": letter.key}
    secret = os.environ.get(SECRET_VARIABLE)
    if secret:
        timestamp = str(int(datetime.now(UTC).timestamp()))
        headers |= {"X-Secateur-Timestamp": timestamp, "X-Secateur-Signature": signature(secret, timestamp, body)}
    where = f"promote.webhook {_shown(letter.address)}"
    request = urllib.request.Request(letter.address, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s):
            return Sent(None)
    except urllib.error.HTTPError as error:
        return Sent(f"{where} answered {error.code}", again=error.code in _AGAIN)
    except (InvalidURL, ValueError) as error:  # their words hold the address
        return Sent(f"{where} is no address that can be asked: {type(error).__name__}")
    except (OSError, HTTPException) as error:
        return Sent(f"{where} was not reached: {' '.join(str(error).split())}", again=True)


def _shown(address: str) -> str:
    """Return an address without what comes behind its host: for Slack and Teams the path is the secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/..."

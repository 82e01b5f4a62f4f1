"""TLS by files, which are read again when they change."""

import asyncio
import logging
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.errors import ConfigError

_HANDSHAKE_S = 10.0
_ANOTHER_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL says to a key of another certificate; the last where one is of RSA and the other is not."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Certificates:
    """A certificate with its key; each handshake looks whether they are still the ones that were read.

    Attributes:
        certificate: file of the certificate and of those between it and its authority, PEM.
        key: file of its private key, PEM; None = in the same file.
    """

    certificate: Path
    key: Path | None
    _state: tuple[int, ...] | None = field(default=None, init=False)
    _refused: tuple[int, ...] | None = field(default=None, init=False)
    _said: str = field(default="", init=False)
    _context: ssl.SSLContext | None = field(default=None, init=False)

    def check(self) -> None:
        """Read them once.

        Raises:
            ConfigError: a file cannot be read, or they do not belong together.
        """
        try:
            self._load()
        except OSError as error:
            named = f"{self.certificate}" + ("" if self.key is None else f" with {self.key}")
            told = f"no TLS with {named} (serve.certificate, serve.private_key): {self._reason(error)}"
            raise ConfigError(told) from error

    def __call__(self, *_: Any) -> ssl.SSLContext:
        """Make the context of a process; uvicorn calls this."""
        first = self._load()
        first.sni_callback = self._look
        return first

    def __getstate__(self) -> dict[str, Any]:
        """Let a process that is started read the files itself: a context cannot be sent to it."""
        return {**self.__dict__, "_state": None, "_context": None}

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        state = self._now()
        context.load_cert_chain(self.certificate, self.key, password=_no_password)
        self._state, self._context = state, context
        return context

    def _look(self, handshake: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        if (state := self._now()) not in (None, self._state, self._refused):
            try:
                self._load()
            except OSError as error:
                # A key may come a moment after its certificate. What is in the files is tried again when they change;
                # that they cannot be opened, for want of descriptors perhaps, may pass by itself.
                self._refused = state if isinstance(error, ssl.SSLError) else None
                if (said := self._reason(error)) != self._said:
                    _log.error("the certificate stays as it was: %s", said)
                self._said = said
            else:
                self._said = ""
                _log.info("certificate read again from %s", self.certificate)
        if self._context is not None:
            handshake.context = self._context

    def _reason(self, error: OSError) -> str:
        if not isinstance(error, ssl.SSLError):
            return str(error.strerror)
        if isinstance(error, _HasPassword):
            key = self.certificate if self.key is None else self.key
            return (
                "the key has a password, and a server that starts by itself has nobody to ask for it; "
                f"`openssl pkey -in {key} -out open.key` writes it without one"
            )
        if error.reason in _ANOTHER_KEY:
            return "the key is not that of the certificate"
        if error.reason:
            return error.reason.lower().replace("_", " ")
        # OpenSSL has no word for what is no PEM, nor for which of two files it is.
        if self.key is None:
            return "there has to be a certificate and a private key in the same file, PEM; or name the file of the key"
        return "one of them is damaged or not PEM"

    def _now(self) -> tuple[int, ...] | None:
        try:
            found = [path.stat() for path in (self.certificate, self.key) if path is not None]
        except OSError:
            return None
        return tuple(number for file in found for number in _numbers(file))


def _numbers(file: os.stat_result) -> tuple[int, ...]:
    return file.st_ino, file.st_mtime_ns, file.st_ctime_ns, file.st_size


class HandshakeLoop(asyncio.SelectorEventLoop):
    """The event loop of a server with TLS: a handshake that says nothing ends after 10 s instead of 60."""

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        """See asyncio."""
        return await super().create_server(*arguments, **{"ssl_handshake_timeout": _HANDSHAKE_S, **named})


class _HasPassword(ssl.SSLError):
    pass


def _no_password() -> str:
    # OpenSSL would ask on the terminal.
    raise _HasPassword

"""Bearer tokens: who may ask, and how often. The file keeps digests, so that whoever reads it cannot ask.

One line per token: ``name sha256 [requests per second]``; ``#`` begins a remark. A token is 256 random bits, which
nobody finds by trying: a slow digest, as for passwords, would protect nothing.
"""

import hashlib
import hmac
import logging
import math
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import final

from secateur.errors import ConfigError

_NAME = re.compile(r"[\w.@-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 1_000_000
_MIN_PER_S = 1e-6
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Token:
    """Somebody who may ask.

    Attributes:
        name: for the audit log and the rate.
        digest: SHA-256 of the token, in hexadecimal.
        per_s: requests per second; None = as anybody.
    """

    name: str
    digest: str
    per_s: float | None = None

    @property
    def line(self) -> str:
        """The line of the file."""
        return f"{self.name} {self.digest}" + ("" if self.per_s is None else f" {self.per_s:g}")


@final
class Tokens:
    """The tokens of a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read them.

        Raises:
            ConfigError: see ``read_tokens``.
        """
        self._path = path
        self._state = _state(path)
        self._tokens = read_tokens(path)
        self._refused = ""

    def owner(self, authorization: str) -> Token | None:
        """Return whose token stands in the value of a header ``Authorization``.

        Every digest is compared, each in constant time: how long it takes says nothing about a token.
        """
        scheme, _, given = authorization.partition(" ")
        digest = _digest(given.strip())
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found if scheme.lower() == "bearer" else None

    def reload(self) -> None:
        """Read the file again if it has changed; one that is not in order changes nothing, and is told in the log."""
        if (state := _state(self._path)) == self._state:
            return
        try:
            self._tokens = _lines_of(self._path)  # none any more: the last one was revoked
        except ConfigError as error:
            # Tried again at every look, until it is in order: a token that was revoked may be in force until then.
            if (said := str(error)) != self._refused:
                _log.error("the tokens stay as they were: %s", said)
            self._refused = said
        else:
            self._state, self._refused = state, ""
            _log.info("%d tokens of %s", len(self._tokens), self._path)


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a file of tokens.

    Raises:
        ConfigError: it cannot be read, others may write to it, it holds no token, or a line is none.
    """
    tokens = _lines_of(path)
    if not tokens:
        raise ConfigError(f"{path} holds no token: nobody could ask; `secateur token` makes one")
    return tokens


def _lines_of(path: Path) -> tuple[Token, ...]:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ConfigError(f"others may write to {path}, and so make tokens: chmod go-w {path}")
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES} bytes, it is no file of tokens")
        lines = content.decode("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"the tokens in {path} cannot be read: {error.strerror}; `secateur token` makes one"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8, it is no file of tokens") from error
    given = ((number, line.partition("#")[0].split()) for number, line in enumerate(lines, start=1))
    tokens = tuple(_token(words, where=f"{path}, line {number}") for number, words in given if words)
    if len(names := {token.name for token in tokens}) < len(tokens):
        twice = next(name for name in names if sum(token.name == name for token in tokens) > 1)
        raise ConfigError(f"{path} names {twice} twice; every token has a name of its own")
    return tokens


def new_token(name: str, *, per_s: float | None = None) -> tuple[str, Token]:
    """Make a token: the secret, which is kept nowhere, and what a file keeps of it.

    Raises:
        ConfigError: the name or the rate cannot stand in the file.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a token's name has 1 to 64 letters, digits, and . _ - @; found {name[:80]!r}")
    if per_s is not None:
        _require_rate(per_s, said=f"no token for {name}")
    secret = secrets.token_urlsafe(32)
    return secret, Token(name, _digest(secret), per_s)


def add_token(path: Path, token: Token) -> None:
    """Append a token to a file, which is made where there is none, for its owner alone.

    Raises:
        ConfigError: the file is not one of tokens, or has one of this name.
    """
    if path.exists() and any(other.name == token.name for other in _lines_of(path)):
        raise ConfigError(f"{path} has a token named {token.name}: remove its line first, or choose another name")
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as stream:
            content = stream.read()
            # The last line of a file that was written by hand may have no end.
            stream.write(("" if content.endswith(b"\n") or not content else "\n").encode() + f"{token.line}\n".encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _token(words: list[str], *, where: str) -> Token:
    try:
        name, digest, *rest = words
        (per_s,) = map(float, rest) if rest else (None,)
    except ValueError as error:
        raise _no_token(where) from error
    if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
        raise _no_token(where)
    if per_s is not None:
        _require_rate(per_s, said=f"{where} is no token")
    return Token(name, digest, per_s)


def _require_rate(per_s: float, *, said: str) -> None:
    if not (math.isfinite(per_s) and per_s >= _MIN_PER_S):
        raise ConfigError(f"{said}: its requests per second are a number of {_MIN_PER_S:f} or more; found {per_s}")


def _no_token(where: str) -> ConfigError:
    return ConfigError(f"{where} is no token: it has a name, 64 hexadecimal digits and perhaps requests per second")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", errors="surrogatepass")).hexdigest()


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of an inode as well: a new mode, or a copy that keeps times, changes no other number.
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

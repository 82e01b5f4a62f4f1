"""Addresses, opened by fsspec, and what their servers answer, in words of ours.

Nothing imports fsspec before one is opened.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.config.addresses import filled, scheme_of, variables_of
from secateur.errors import DataError, SecateurError
from secateur.sources.locations import Location

CONNECT_S, READ_S = 15.0, 60.0
"""How long an HTTP server may take to be reached, and to send the next bytes."""

_MARKS = (
    "ETag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "VersionId", "etag", "last_modified",
    "version_id", "generation", "md5Hash", "content_md5", "blob_id", "mtime", "modified", "created",
)  # fmt: skip
"""What file systems call that by which a file is told from its next version."""
_EXTRAS = {"s3": "team", "s3a": "team"}


@dataclass(frozen=True)
class Remote:
    """A file that was looked at, and not read yet.

    Attributes:
        size: in bytes; None where nobody says.
        marks: what tells it from its next version.
    """

    size: int | None
    marks: Mapping[str, str]
    _system: Any
    _place: str

    def copy_to(self, path: Path) -> None:
        """Fetch all of it."""
        self._system.get_file(self._place, str(path))


_REFUSALS = frozenset({"PermissionError", "NoCredentialsError", "GatedRepoError"})
_SAID = {
    ("NonHttpUrlRedirectClientError", "InvalidUrlRedirectClientError"): (
        "redirects to something that is no HTTP address; refused"
    ),
    ("TimeoutError", "FSTimeoutError"): (
        f"does not answer (within {CONNECT_S:g} s, or {READ_S:g} s between two pieces)"
    ),
    ("ClientPayloadError", "IncompleteReadError", "ServerDisconnectedError"): (
        "broke off on the way; nothing was kept, run again"
    ),
    ("ConnectionError", "ClientConnectionError", "gaierror", "OfflineModeIsEnabled", "EndpointConnectionError"): (
        "cannot be reached ({cause}); is there a network?"
    ),
    ("FileNotFoundError",): "is not there",
}
"""Names of what clients raise, in the order in which they tell most, and what each means."""


def look(location: Location) -> Remote:
    """Ask what is at an address, without reading it.

    Raises:
        DataError: a variable is missing, it is a folder, or it leads to where nothing is encrypted.
        Exception: whatever the client raises; see ``explained``.
    """
    import fsspec

    address = _with_secrets(location)
    scheme = scheme_of(address)
    options = _web_options() if scheme in ("http", "https") else {}
    client = fsspec.get_filesystem_class(scheme)
    system = client(skip_instance_cache=True, **client._get_kwargs_from_urls(address), **options)
    place = client._strip_protocol(address)
    found = system.info(place)
    if found.get("type") == "directory":
        raise DataError(f"{location.asked_by}={location.name} is a folder; name one file in it")
    if scheme == "https" and not str(found.get("url", "https:")).startswith("https:"):
        raise DataError(f"{location.asked_by}={location.name} redirects to an address that is not encrypted; refused")
    size = found.get("size")
    marks = {name: str(found[name]) for name in _MARKS if found.get(name)}
    return Remote(None if size is None else int(size), marks, system, place)


def _with_secrets(location: Location) -> str:
    try:
        return filled(location.name, os.environ)
    except KeyError:
        missing = next(name for name in variables_of(location.name) if name not in os.environ)
        raise DataError(
            f"{location.asked_by}={location.name}: the environment has no {missing}; export it, and run again"
        ) from None


def _web_options() -> dict[str, Any]:
    """Return how HTTP is spoken: with limits, by the proxies of the environment, and nothing packed for the way."""
    import aiohttp

    patience = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_connect=CONNECT_S, sock_read=READ_S)
    as_it_is = {"headers": {"Accept-Encoding": "identity"}, "auto_decompress": False}
    return {"client_kwargs": {"timeout": patience, "trust_env": True, **as_it_is}}


@contextmanager
def explained(location: Location, *, tip: str = "") -> Iterator[None]:
    """Turn what a file system raises into one line, which holds no word of it: they quote what they opened.

    Args:
        location: that is opened.
        tip: what would work.
    """
    try:
        yield
    except SecateurError:
        raise
    except Exception as error:  # noqa: BLE001  each client raises what it likes
        said = f"{location.asked_by}={location.name} {_reason(error, scheme_of(location.name))}"
    else:
        return
    raise DataError(said + tip) from None  # whose trace would show what was opened


def _reason(error: BaseException, scheme: str) -> str:
    """Say what happened by the types and numbers of an error and of those behind it, and never by their texts."""
    chain = [error]
    while (behind := chain[-1].__cause__ or chain[-1].__context__) is not None and behind not in chain:
        chain.append(behind)
    if isinstance(error, ImportError):
        return f"cannot be opened: {_missing(scheme)}"
    names = {kind.__name__ for entry in chain for kind in type(entry).__mro__}
    status = next((found for entry in chain if (found := _status(entry))), None)
    if status in (401, 403) or names & _REFUSALS:
        how = f" (HTTP {status})" if status else ""
        return (
            f"is not given out{how}; what it asks for comes from the environment: ${{SOURCE_NAME}} in the address, or "
            f"what its client reads ({_asks_for(scheme)})"
        )
    if status not in (None, 404):
        return f"is not given out: the server answers HTTP {status}"
    said = next((said for kinds, said in _SAID.items() if not names.isdisjoint(kinds)), "cannot be read ({cause})")
    return said.replace("{cause}", _innermost(chain))


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error, wherever its client keeps it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(response, "status_code", None)
    return found if isinstance(found, int) and found >= 400 else None


def _innermost(chain: "list[BaseException]") -> str:
    """Name the first cause by what the system says of it, else by its type."""
    system = next((entry for entry in reversed(chain) if isinstance(entry, OSError) and entry.errno), None)
    if system is not None and system.errno is not None and system.errno > 0:
        return os.strerror(system.errno)
    return type(chain[-1]).__name__


def _asks_for(scheme: str) -> str:
    known = {"s3": "AWS_ACCESS_KEY_ID, AWS_PROFILE", "hf": "HF_TOKEN", "http": "~/.netrc", "https": "~/.netrc"}
    return known.get(scheme, "its documentation names it")


def _missing(scheme: str) -> str:
    """Name the package that opens addresses of a scheme."""
    from fsspec.registry import known_implementations

    if scheme in _EXTRAS:
        return f"it needs s3fs; pip install -c constraints.txt -e '.[{_EXTRAS[scheme]}]' brings it, or pip install s3fs"
    package = known_implementations.get(scheme, {}).get("class", scheme).partition(".")[0]
    said = known_implementations.get(scheme, {}).get("err", f"install {package}")
    return f"fsspec says: {said}"

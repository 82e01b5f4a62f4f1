"""Addresses of sources (``https://...``, ``s3://...``): what one may say, and how it is shown.

params.yaml, dvc.lock, cards and messages hold an address as it was written, so it holds no secret: ``${SOURCE_NAME}``
stands for what the environment knows, and is put in only where the address is opened. An address may be somebody
else's: it is given no variable that is not called as one for sources.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, unquote

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://.")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/\s'\"]*@|[^/\s'\"]*:(?!\d{1,5}(?:[/?#]|$))[^\s'\"]*@)")
"""What stands before a host; a password with a ``/`` in it is none that an address may have, and a secret as well."""
_VALUE = re.compile(r"([?&;#])([^=&;#\s'\"]+)=([^&;#\s'\"]+)")
_SAYS_SECRET = re.compile(
    r"token|secret|signature|passw|credential|api[-_]?key|access|(^|[-_.])(sig|sas|pwd|auth|key|code)$", re.IGNORECASE
)
_LOOKS_SECRET = re.compile(r"[A-Za-z0-9_+=%]{20,}")
_THIS_MACHINE = frozenset({"file", "local", "asynclocal"})
_OPEN_TO_ADDRESSES = "SOURCE_"
_WEB = frozenset({"http", "https"})
_MAX_NAME_BYTES = 200


IN_ITS_PLACE = "write ${SOURCE_NAME} in its place, and set SOURCE_NAME in the environment"
"""What works instead of a secret, for messages."""


def is_address(source: str) -> bool:
    """Tell whether a source is written as an address rather than as a path, a package's file or a hub id."""
    return _ADDRESS.match(source) is not None


def scheme_of(address: str) -> str:
    """Return what stands before ``://``."""
    return address.partition("://")[0].lower()


def file_name(address: str) -> str:
    """Return the name of the file: the last part of the path, or nothing where there is none."""
    place = re.split(r"[?#]", address.partition("://")[2], maxsplit=1)[0]
    return unquote(place.rpartition("/")[2]) if "/" in place else ""


def variables_of(address: str) -> list[str]:
    """Return the names of the environment's variables that an address takes."""
    return _VARIABLE.findall(address)


def filled(address: str, environment: Mapping[str, str]) -> str:
    """Return the address with the values of its variables, for opening it and for nothing else.

    Raises:
        KeyError: one is not there.
    """
    return _VARIABLE.sub(lambda found: environment[found[1]], address)


def problem_of(address: str) -> str | None:
    """Say what is wrong with an address, in words that do not repeat it; None where nothing is."""
    return next(_problems(address), None)


def _problems(address: str) -> Iterator[str]:
    if not address.isprintable():
        yield "holds a character that cannot be printed"
    if "::" in address:
        yield "chains file systems (::), and one is opened"
    if scheme_of(address) in _THIS_MACHINE:
        yield "is a path of this machine: name it without file://"
    if secret := _secret_in(address):
        yield f"holds {secret} in clear; {IN_ITS_PLACE}"
    if others := [name for name in variables_of(address) if not name.startswith(_OPEN_TO_ADDRESSES)]:
        yield (
            f"takes ${{{others[0]}}} from the environment; variables for addresses begin with {_OPEN_TO_ADDRESSES}, so "
            "that somebody else's params.yaml sends nobody another one"
        )
    place, name = address.partition("?")[0], file_name(address)
    if "*" in place or "[" in place:
        yield "is a pattern, and an address names one file ({a,b}.csv names two)"
    if variables_of(name):
        yield "has a variable in the name of its file, which is recorded; variables go before or behind it"
    if not name or name.startswith(".") or re.search(r"[/\\]", name) or len(name.encode()) > _MAX_NAME_BYTES:
        yield "names no file: the last part of its path is the name of the copy"


def redacted(text: str) -> str:
    """Return a text in which no address shows a password or a token."""
    shown = _USER.sub(_without_user, text)
    return _VALUE.sub(
        lambda found: f"{found[1]}{found[2]}=***" if _is_secret(unquote(found[2]), found[3]) else found[0], shown
    )


def _without_user(found: "re.Match[str]") -> str:
    is_plain = ":" not in found[2] and scheme_of(found[1]) not in _WEB
    return found[0] if is_plain or _is_variable(found[2]) else f"{found[1]}***@"


def _secret_in(address: str) -> str | None:
    user = address.partition("://")[2].partition("/")[0].rpartition("@")[0]
    name, colon, password = user.partition(":")
    if password and not _is_variable(password):
        return "a password"
    if _USER.search(address) and not user:
        return "a password with a / in it (written %2F)"
    if user and not colon and scheme_of(address) in _WEB and not _is_variable(name):
        return "a user's name or token"
    _, *rest = re.split(r"[?#]", address, maxsplit=1)
    for name, value in parse_qsl(re.sub("[;#?]", "&", "".join(rest)), keep_blank_values=True):
        if _is_secret(name, value):
            return f"what looks like a secret ({name})"
    return None


def _is_secret(name: str, value: str) -> bool:
    if not value or _is_variable(value):
        return False
    runs = _LOOKS_SECRET.findall(value)
    mixed = any(re.search(r"\d", run) and re.search(r"[A-Za-z]", run) for run in runs)
    return mixed or _SAYS_SECRET.search(name) is not None


def _is_variable(text: str) -> bool:
    """Tell whether nothing but variables stands there (and the colon and the at sign of a user's name)."""
    return _VARIABLE.sub("", text).strip(":@") == ""

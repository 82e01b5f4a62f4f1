"""``SECATEUR_ENGINE``: where stages run is a setting of the machine, so it is a variable, and no parameter."""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from secateur.errors import ConfigError

VARIABLE = "SECATEUR_ENGINE"

_PACKAGES = {"dask": "distributed", "ray": "ray"}
_CHOICES = (
    "local, dask or ray (processes here that end with the run; dask:2 is two of them), dask:tcp://HOST:8786, ray:auto "
    "or ray:ray://HOST:10001 would work"
)


@dataclass(frozen=True)
class Setting:
    """Where stages run.

    Attributes:
        kind: local = in this process, one after the other.
        address: of a cluster that is there; None starts one on this machine, which ends with the run.
        num_workers: of a cluster that is started; None takes as many as fit.
        text: as it was written.
    """

    kind: Literal["local", "dask", "ray"]
    address: str | None
    num_workers: int | None
    text: str

    def __str__(self) -> str:
        return f"{VARIABLE}={self.text}"


def read_setting(text: str | None = None) -> Setting:
    """Return what the environment says, or a text in its place.

    Raises:
        ConfigError: it is none of the forms that there are.
    """
    asked = (os.environ.get(VARIABLE, "") if text is None else text).strip() or "local"
    kind, colon, rest = asked.partition(":")
    if kind == "local" and not colon:
        return Setting("local", None, None, asked)
    if kind in ("dask", "ray") and bool(rest) == bool(colon):
        if not rest or re.fullmatch(r"[1-9][0-9]{0,2}", rest):
            return Setting(kind, None, int(rest) if rest else None, asked)  # type: ignore[arg-type]  # one of the two
        if "://" in rest or (kind == "ray" and re.fullmatch(r"auto|[\w.-]+:\d+", rest)):
            return Setting(kind, rest, None, asked)  # type: ignore[arg-type]
    raise ConfigError(f"{VARIABLE}={asked} is no engine; {_CHOICES}")


def require_installed(setting: Setting) -> None:
    """Refuse an engine whose package is missing.

    Raises:
        ConfigError: the message names the extra that brings it.
    """
    package = _PACKAGES.get(setting.kind)
    if package is not None and find_spec(package) is None:
        raise ConfigError(
            f"{setting} takes the package {package} (the extra {setting.kind} of secateur), which is not installed; "
            f"pip install {package}, or {VARIABLE}=local"
        )

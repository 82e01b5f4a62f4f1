"""What the DVC of a worker is told: which remote holds the bytes, and nothing that is secret."""

import re
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from configobj import ConfigObj

from secateur.errors import ProjectError

_SECRET = re.compile(r"secret|password|token|access_key|account_key|customer_key|connection_string|credential|_json")


def remote_of(repo: Any) -> tuple[str, dict[str, str]] | None:
    """Return name and settings of the default remote, as they apply here; None where there is none.

    Keys are left out: a worker takes them from its own environment.

    Raises:
        ProjectError: the address itself holds a password.
    """
    name = repo.config["core"].get("remote")
    if name is None or name not in repo.config["remote"]:
        return None
    settings = {key: str(value) for key, value in repo.config["remote"][name].items() if not _SECRET.search(key)}
    if urlsplit(settings.get("url", "")).password:
        raise ProjectError(
            f"the url of the DVC remote {name} holds a password, which is not sent to workers; keep it in the "
            "environment of who needs it"
        )
    return str(name), settings


def config_elsewhere(remote: tuple[str, dict[str, str]] | None, *, cache: str) -> bytes:
    """Return the ``.dvc/config`` of a folder without git.

    Args:
        remote: as ``remote_of`` returns it.
        cache: folder of the cache, from that of the file.
    """
    config = ConfigObj()
    config["core"] = {"no_scm": "true", "analytics": "false", "check_update": "false"}
    config["cache"] = {"dir": cache}
    if remote is not None:
        name, settings = remote
        config["core"]["remote"] = name
        config[f'remote "{name}"'] = settings
    content = BytesIO()
    config.write(content)
    return content.getvalue()

"""An event on the Prefect server, for automations that follow a promotion."""

import os
import sys
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5


def emit(name: str, *, model: str, payload: Mapping[str, Any], key: str | None = None) -> None:
    """Emit ``secateur.<name>`` about a model, when there is a Prefect server to tell.

    That is inside a flow, or where ``PREFECT_API_URL`` names a server: nobody would hear it elsewhere. Events with the
    same ``key`` have the same id.
    """
    if "prefect" not in sys.modules and not os.environ.get("PREFECT_API_URL"):
        return
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from prefect.events import emit_event

    emit_event(
        event=f"secateur.{name}",
        resource={"prefect.resource.id": f"secateur.model.{model}"},
        payload=dict(payload),
        id=None if key is None else uuid5(NAMESPACE_URL, f"secateur:{key}"),
    )

"""The event that automations follow: it arrives where there is a server, and costs nothing where there is none."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

from tests.tiny import REPOSITORY, environment

_EMIT = (
    "import sys; from secateur.workflow.announce import emit\n"
    "emit('promoted', model='announced', payload={'to': '3'}); "
)


def _emit(more: str = "", **variables: str) -> None:
    env = {name: value for name, value in environment().items() if name != "PREFECT_API_URL"}
    subprocess.run([sys.executable, "-c", _EMIT + more], env=env | variables, cwd=REPOSITORY, check=True)


def _events(url: str) -> list[dict[str, Any]]:
    # Other tests promote too, and tell the same server.
    wanted = {"event": {"name": ["secateur.promoted"]}, "resource": {"id": ["secateur.model.announced"]}}
    body = json.dumps({"filter": wanted}).encode()
    request = urllib.request.Request(
        f"{url}/events/filter", data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["events"]
    return found


def test_an_event_of_a_short_process_arrives(prefect_server: str) -> None:
    _emit(PREFECT_API_URL=prefect_server, PREFECT_HOME=os.environ["PREFECT_HOME"])
    for _ in range(60):
        if found := _events(prefect_server):
            break
        time.sleep(0.5)
    assert found[0]["resource"]["prefect.resource.id"] == "secateur.model.announced"
    assert found[0]["payload"] == {"to": "3"}


def test_without_a_server_prefect_is_not_even_imported() -> None:
    _emit("assert 'prefect' not in sys.modules")

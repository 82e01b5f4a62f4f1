"""The identity of an execution: one digest over everything that DVC checks, used by both drivers.

Prefect caches under it, cards and registered versions carry it. It is computed before a task is called,
because a failing key function inside Prefect silently turns caching off.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Identity:
    """What decides the outputs of a stage.

    Attributes:
        stage: address of the stage.
        command: what DVC runs.
        dependencies: path -> md5 of every input, as DVC records them.
        parameters: dotted name -> value.
        code: digest of the code that the stage uses, as ``code.lock`` holds it.
    """

    stage: str
    command: str
    dependencies: Mapping[str, str]
    parameters: Mapping[str, Any]
    code: str

    @property
    def key(self) -> str:
        """32 hex digits of a sha256 over the canonical JSON of all fields."""
        content = json.dumps(
            {
                "stage": self.stage,
                "command": self.command,
                "dependencies": dict(self.dependencies),
                "parameters": dict(self.parameters),
                "code": self.code,
            },
            sort_keys=True,
            ensure_ascii=False,
        )
        return hashlib.sha256(content.encode()).hexdigest()[:32]

"""A piece of work on a shard of rows: ``python -m secateur.workers.shard``; it reads and writes files of one folder."""

import sys
from pathlib import Path
from typing import Any

from secateur.data.shards import PIECES
from secateur.engines.of_shards import SIGN
from secateur.workers.asking import Asked, answer
from secateur.workflow.project import Project


def _run(_: Project, asked: Asked) -> dict[str, Any]:
    folder = Path(asked["folder"])
    if "sign" in asked:
        sign = folder / SIGN
        return {"seen": sign.is_file() and sign.read_text(encoding="utf-8") == asked["sign"]}
    PIECES[asked["piece"]](folder, **asked["arguments"])
    return {}


if __name__ == "__main__":
    sys.exit(answer(_run))

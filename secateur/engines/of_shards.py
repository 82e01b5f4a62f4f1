"""Pieces of work on shards of rows, sent to the workers of an engine; here where these do not see the shards."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.data.shards import work_here
from secateur.engines.base import Engine, Work
from secateur.engines.performing import installed
from secateur.engines.sending import Sent
from secateur.engines.setting import Setting
from secateur.progress import PATIENCE_S, progress

SIGN = "sign"
"""A file by which a worker tells that it sees the folder of who asks, and no other of that name."""

_MODULE = "secateur.workers.shard"

logger = logging.getLogger(__name__)


def work_on(
    engine: Engine,
    setting: Setting,
    folder: Path,
    title: str,
    piece: str,
    asked: Sequence[Mapping[str, Any]],
    *,
    scratch: str,
) -> None:
    """Do what ``shards.work_here`` does, on workers, as many pieces at once as there are.

    Args:
        engine: that is open.
        setting: what it is.
        folder: that holds the shards; files alone pass between who asks and who works.
        title: in messages.
        piece: which of ``shards.PIECES``.
        asked: arguments of each beside the folder.
        scratch: where workers of this machine make their folders.

    Raises:
        CheckFailed: a piece failed, or its workers were lost every time.
        EngineGone: the cluster went away.
    """
    of_here = setting.address is None

    def sent(name: str, values: Mapping[str, Any]) -> Sent:
        told = {"folder": str(folder), **values}
        where = scratch if of_here else None
        return Sent(engine, Work(name, _MODULE, asked=told, files={}, installed=installed(), scratch=where))

    if not of_here and not _is_seen(folder, sent):
        logger.warning(
            "%s: workers of %s do not see %s, through which shards pass; they are worked on here",
            title,
            setting,
            folder,
        )
        work_here(folder, title, piece, asked)
        return
    with progress(title, total=len(asked), after_s=PATIENCE_S) as advance:
        waiting = [
            sent(f"{title} {number} of {len(asked)}", {"piece": piece, "arguments": dict(arguments)})
            for number, arguments in enumerate(asked, start=1)
        ]
        for one in waiting:
            one.answer()
            advance()


def _is_seen(folder: Path, sent: Any) -> bool:
    sign = secrets.token_hex(16)
    (folder / SIGN).write_text(sign, encoding="utf-8")
    said = sent("clean: a look", {"sign": sign}).answer().said
    return bool(said and said["seen"])

"""What every program of a worker does first and last: it is asked by a line, has the data fetched, and answers once.

It ends when standard input closes, as it does when the worker is killed. What is read is fetched by its digest, from
the cache of who asks where this machine sees it, else from the DVC remote.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.engines.performing import ANSWER
from secateur.errors import ProjectError, SecateurError
from secateur.files import write_json, write_text
from secateur.workflow.project import Project

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig
    from secateur.workflow.dvc_store import DvcStore

Asked = Mapping[str, Any]


def answer(run: Callable[[Project, Asked], dict[str, Any]]) -> int:
    """Run what is asked in the current folder and leave the answer; return the exit code."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    project = Project(Path.cwd().resolve())
    os.environ["DVC_SITE_CACHE_DIR"] = str(project.root / ".dvc" / "site")  # what it remembers ends with the folder
    try:
        found: dict[str, Any] = {"said": run(project, asked)}
    except SecateurError as error:
        found = {"refused": [type(error).__name__, str(error)]}
    write_json(project.root / ANSWER, found)
    return 0


def require_code(project: Project, config: "RunConfig", asked: Asked, *, stage: str) -> None:
    """Refuse to work with other code of a stage than who asks has.

    Raises:
        ProjectError: it differs.
    """
    from secateur.workflow.code_lock import code_of

    if (code := code_of(project, config)[stage].digest) != asked["code"]:
        raise ProjectError(
            f"{asked['title']}: the worker {asked['worker']} has other code of {stage} ({code[:12]}, asked "
            f"{asked['code'][:12]}); install the same packages there that bring its criteria, kinds and families"
        )


def fetched(project: Project, asked: Asked) -> "tuple[DvcStore, bool]":
    """Fetch what is to be read; return the store, and whether its cache is that of who asks.

    Raises:
        ProjectError: neither a cache nor a remote is within reach, or they do not hold it.
        CheckFailed: they hold something else.
    """
    from secateur.workflow.dvc_store import DvcStore

    shared = _use_shared_cache(project, asked)
    store = DvcStore(project)
    _require_remote(store, asked, shared=shared)
    for path, md5 in asked["inputs"].items():
        store.fetch(md5, project.root / path, what=path)
    return store, shared


def _use_shared_cache(project: Project, asked: Asked) -> bool:
    """Use the cache of who asks where this machine sees it, with all that is to be read in it."""
    cache, digests = asked["cache"], asked["inputs"].values()
    if cache is None or any(not Path(cache, "files", "md5", md5[:2], md5[2:]).is_file() for md5 in digests):
        return False
    write_text(project.root / ".dvc" / "config.local", f"[cache]\n    dir = {json.dumps(cache)}\n")
    return True


def _require_remote(store: "DvcStore", asked: Asked, *, shared: bool) -> None:
    """Refuse a remote that is a folder which this machine does not see: pushing would make one of its own."""
    if shared:
        return
    name, url = ("", "") if store.remote is None else (store.remote[0], store.remote[1].get("url", ""))
    if not url or ("://" not in url and not Path(url).is_dir()):
        what = f"the DVC remote {name} is {url}, a folder that it does not see" if url else "there is no DVC remote"
        raise ProjectError(
            f"{asked['title']}: the worker {asked['worker']} cannot have the data: {what}; a remote on S3, a folder "
            "that all machines mount, or a shared cache (`dvc cache dir`) would work"
        )


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)

"""A stage on a worker: ``python -m secateur.workers.stage``, in an empty folder with the few files that it was sent.

It is asked by a line of JSON on standard input, and ends when that closes, as it does when the worker is killed. What
the stage reads is fetched by its digest; what it makes is stored under its digest, and only digests are answered. The
dvc.lock that DVC writes here goes with the folder.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.engines.performing import ANSWER
from secateur.errors import ProjectError, SecateurError
from secateur.files import write_json, write_text
from secateur.workflow.project import Project


def main() -> int:
    """Run the stage and leave the answer; return the exit code."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    project = Project(Path.cwd().resolve())
    os.environ["DVC_SITE_CACHE_DIR"] = str(project.root / ".dvc" / "site")  # what it remembers ends with the folder
    try:
        found: dict[str, Any] = {"said": _run(project, asked)}
    except SecateurError as error:
        found = {"refused": [type(error).__name__, str(error)]}
    write_json(project.root / ANSWER, found)
    return 0


def _run(project: Project, asked: Mapping[str, Any]) -> dict[str, Any]:
    from secateur.determinism import fingerprint
    from secateur.workflow.code_lock import code_of
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.execution import execute
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import find_stage

    config = read_config(project)
    stage = find_stage(config, project.root, asked["stage"])
    if (code := code_of(project, config)[stage.name].digest) != asked["code"]:
        raise ProjectError(
            f"{stage.address}: the worker {asked['worker']} has other code of {stage.name} ({code[:12]}, asked "
            f"{asked['code'][:12]}); install the same packages there that bring its criteria, kinds and families"
        )
    shared = _use_shared_cache(project, asked)
    store = DvcStore(project)
    _require_remote(store, asked, shared=shared)
    for path, md5 in asked["inputs"].items():
        store.fetch(md5, project.root / path, what=path)
    identity = store.identity(stage.address)
    if identity.key != asked["key"]:
        raise ProjectError(
            f"{stage.address}: what was sent to the worker {asked['worker']} comes to the key {identity.key[:12]}, "
            f"asked {asked['key'][:12]}; was a file changed while it was sent? `secateur run` sends it again"
        )
    seconds = execute(project, stage, config, identity)
    store.commit(stage.address)
    outputs = store.output_digests(stage.address)
    if not shared:
        store.push(list(outputs.values()))
    return {"outputs": outputs, "seconds": seconds, "fingerprint": fingerprint(constraints=project.constraints_file)}


def _use_shared_cache(project: Project, asked: Mapping[str, Any]) -> bool:
    """Use the cache of who asks where this machine sees it, with all that is to be read in it."""
    cache = asked["cache"]
    if cache is None or any(
        not Path(cache, "files", "md5", md5[:2], md5[2:]).is_file() for md5 in asked["inputs"].values()
    ):
        return False
    write_text(project.root / ".dvc" / "config.local", f"[cache]\n    dir = {json.dumps(cache)}\n")
    return True


def _require_remote(store: Any, asked: Mapping[str, Any], *, shared: bool) -> None:
    """Refuse a remote that is a folder which this machine does not see: pushing would make one of its own."""
    if shared:
        return
    remote: tuple[str, dict[str, str]] | None = store.remote
    name, url = ("", "") if remote is None else (remote[0], remote[1].get("url", ""))
    if not url or ("://" not in url and not Path(url).is_dir()):
        what = f"the DVC remote {name} is {url}, a folder that it does not see" if url else "there is no DVC remote"
        raise ProjectError(
            f"{asked['stage']}: the worker {asked['worker']} cannot have the data: {what}; a remote on S3, a folder "
            "that all machines mount, or a shared cache (`dvc cache dir`) would work"
        )


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

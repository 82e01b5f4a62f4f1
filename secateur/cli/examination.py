"""What ``doctor`` finds on this machine and in this workspace."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from secateur.errors import SecateurError

_STACK = ("torch", "transformers", "datasets", "accelerate", "prefect", "dvc", "mlflow", "onnxruntime")
_SHOWN = 5


def environment() -> list[dict[str, Any]]:
    """Return what is installed and what the processor can do, one row per fact."""
    import torch

    from secateur.determinism import fastest_precision

    found: list[dict[str, Any]] = []
    for name in _STACK:
        try:
            found.append({"what": name, "ok": True, "found": version(name)})
        except PackageNotFoundError:
            found.append({"what": name, "ok": False, "found": "not installed"})
    found.append({"what": "CPU code path", "ok": None, "found": torch.backends.cpu.get_cpu_capability()})
    found.append({"what": "precision auto", "ok": None, "found": f"trains in {fastest_precision()}, faster here"})
    found.append({"what": "threads", "ok": None, "found": torch.get_num_threads()})
    return found


def workspace() -> list[dict[str, Any]]:
    """Return what a run would trip over in this workspace, one row per check."""
    from secateur.files import free_bytes
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.elsewhere import require_engine
    from secateur.workflow.params import read_config
    from secateur.workflow.preflight import check
    from secateur.workflow.project import commit_of, dirty_files, exclusive, find_project
    from secateur.workflow.rendering import is_current

    try:
        project = find_project()
    except SecateurError as error:
        return [{"what": "project", "ok": None, "found": str(error)}]  # nothing is wrong with a machine that has none
    found: list[dict[str, Any]] = [{"what": "project", "ok": True, "found": str(project.root)}]

    def attempt(what: str, probe: Any) -> None:
        try:
            found.append({"what": what, "ok": True, "found": probe() or "in order"})
        except SecateurError as error:
            found.append({"what": what, "ok": False, "found": str(error)})

    def locked() -> None:
        with exclusive(project):
            pass

    attempt("params.yaml", lambda: read_config(project) and None)
    attempt("source, model, budget", lambda: check(project, read_config(project)))
    attempt("DVC workspace", lambda: f"{len(DvcStore(project).order())} stages")
    attempt("run lock", locked)
    attempt("engine", lambda: require_engine(project, read_config(project)))
    current = is_current(project, read_config(project)) if found[1]["ok"] else None
    found.append(
        {"what": "dvc.yaml", "ok": current, "found": "agrees with the registry" if current else "run `secateur plan`"}
    )
    dirty = dirty_files(project.root)
    found.append({"what": "commit", "ok": None, "found": (commit_of(project.root) or "none")[:12]})
    found.append({"what": "changed code or params", "ok": None, "found": _some(dirty) or "none"})
    found.append({"what": "free space", "ok": None, "found": f"{free_bytes(project.root) / 1e9:.1f} GB"})
    return found


def _some(names: Sequence[str]) -> str:
    """Name the first few, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""``code.lock``: one digest per stage of the code that it uses, in the installed package and in the project.

dvc.yaml depends on it as a parameter. So an upgraded package makes exactly the stages stale whose code it changed,
and ``dvc repro`` is refused under a package that the file does not know.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

import secateur
from secateur.config.effective import is_named
from secateur.config.families import OTHERS
from secateur.config.schema import RunConfig
from secateur.errors import ProjectError
from secateur.extensions import root_of
from secateur.files import write_json, write_text
from secateur.identity.closure import closure
from secateur.identity.kind_code import with_kind
from secateur.identity.sources import Sources
from secateur.kinds.registry import KINDS
from secateur.workflow.full_form import PACKAGE, folder_of
from secateur.workflow.project import Project, is_read_only
from secateur.workflow.stages import stages

FILE = "code.lock"
_HEADER = """\
# Written by `secateur plan` and `secateur run`; dvc.yaml depends on it. The code that each stage uses, without comments
# and docstrings: another digest means that the stage runs again (`secateur why STAGE` shows the line).
"""


@dataclass(frozen=True)
class StageCode:
    """The code of one stage.

    Attributes:
        digest: 32 hex digits over what its files do.
        files: name, as in ``secateur/pruning/round.py`` or ``tasks/prune.py`` -> file.
    """

    digest: str
    files: Mapping[str, Path]


def parameter(stage: str) -> str:
    """Return the entry of ``code.lock`` on which a stage depends."""
    return f"code.{stage}"


def code_of(project: Project, config: RunConfig) -> Mapping[str, StageCode]:
    """Return stage -> the code that it uses: that which this process runs, also when it lives for long."""
    used: dict[str, _Used] = {}
    for stage in stages(config, project.root):
        left_out = tuple(key for key in stage.keys if not is_named(config, key))
        used.setdefault(stage.name, ((stage.module, *stage.chosen), left_out))
    kind, family = KINDS.find(config.run.task), config.baseline.family
    return _code_of(project, tuple(used.items()), kind.module, None if family is None else OTHERS.find(family).module)


_FAMILIES = "secateur/families/__init__.py"
"""Which stages use the family that ``baseline.family`` names: those whose code asks for families."""

_Used = tuple[tuple[str, ...], tuple[str, ...]]
"""The modules of a stage, and the parameters that params.yaml leaves to the defaults, which are code."""


@cache
def _code_of(
    project: Project, used: tuple[tuple[str, _Used], ...], kind: str, family: str | None
) -> Mapping[str, StageCode]:
    sources = Sources(_read_json(index_file(project)))
    found: dict[str, StageCode] = {}
    for name, (modules, left_out) in used:
        roots = _roots((*modules, kind, *filter(None, [family])), project)
        files = closure(*modules, roots=roots, sources=sources)
        if family is not None and _FAMILIES in files:
            files = closure(*modules, family, roots=roots, sources=sources)
        files, digest = with_kind(files, kind, roots=roots, sources=sources)
        found[name] = StageCode(_digest(digest, left_out), files)
    if not sources.complete and not is_read_only(project):
        write_json(index_file(project), sources.as_json())
    return found


def _roots(modules: tuple[str, ...], project: Project) -> Mapping[str, Path]:
    """Return where code counts: the package, the stages, and packages of others that bring what was chosen."""
    ours = {"secateur": PACKAGE.parent, "tasks": folder_of(project.root, "tasks").parent}
    tops = {module.partition(".")[0]: module for module in modules}
    return ours | {top: root_of(module) for top, module in tops.items() if top not in ours}


def _digest(code: str, left_out: tuple[str, ...]) -> str:
    """Tell a parameter that params.yaml gives from its default: DVC does not see one that dvc.yaml no longer lists."""
    return hashlib.sha256("\n".join([code, *sorted(left_out)]).encode()).hexdigest()[:32] if left_out else code


def render(project: Project, config: RunConfig) -> str:
    """Return the text of ``code.lock`` for the code that is installed."""
    lines = [f"  {name}: {code.digest}" for name, code in code_of(project, config).items()]
    return "\n".join([f"{_HEADER}secateur: {secateur.__version__}", "code:", *lines, ""])


def is_current(project: Project, config: RunConfig) -> bool:
    """Tell whether the file knows the code that is installed; another version with the same code counts as known."""
    return _read(project).get("code") == {name: code.digest for name, code in code_of(project, config).items()}


def require_current(project: Project, config: RunConfig) -> None:
    """Refuse to work with code that the file does not know.

    Raises:
        ProjectError: it differs; ``secateur plan`` takes it over.
    """
    if is_current(project, config):
        return
    known = _read(project).get("code") or {}
    changed = ", ".join(name for name, code in code_of(project, config).items() if known.get(name) != code.digest)
    made = version_of(project)
    raise ProjectError(
        f"{FILE} {f'is of secateur {made} and' if made else 'is missing, or'} does not know the code of {changed} in "
        f"the installed secateur {secateur.__version__}; `secateur plan` takes it over and says what runs again"
    )


def version_of(project: Project) -> str | None:
    """Return the version of the package whose code the file holds."""
    found = _read(project).get("secateur")
    return None if found is None else str(found)


def update(project: Project, config: RunConfig) -> bool:
    """Write the file if the code or the version is another; tell whether it was written."""
    file, text = project.root / FILE, render(project, config)
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return False
    if is_current(project, config) and is_read_only(project):
        return False
    write_text(file, text)
    return True


def index_file(project: Project) -> Path:
    """Return where is kept what is known of source files, by the digests of their bytes."""
    return project.state / "code" / "index.json"


def _read(project: Project) -> dict[str, Any]:
    with suppress(OSError, YAMLError):
        found = YAML(typ="safe").load((project.root / FILE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _read_json(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}

"""dvc.yaml, rendered from the stage registry."""

import logging
from collections.abc import Mapping
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from secateur.config.effective import is_named
from secateur.config.schema import RunConfig
from secateur.errors import ProjectError
from secateur.files import write_bytes, write_text
from secateur.kinds.registry import kind_named
from secateur.workflow import code_lock
from secateur.workflow.project import Project
from secateur.workflow.stage import Output, Stage
from secateur.workflow.stages import stages
from secateur.yaml_text import read_yaml

_HEADER = (
    "# Rendered from secateur/workflow/stages.py by `secateur plan`; "
    "change the registry or params.yaml, not this file.\n"
)
_ANY_HEADER = b"# Rendered from "
"""How that line begins in every version."""

logger = logging.getLogger(__name__)


def render(project: Project, config: RunConfig) -> str:
    """Return the text of dvc.yaml for these parameters."""
    rendered: dict[str, Any] = {}
    for stage in stages(config, project.root):
        if stage.item is None:
            rendered[stage.name] = _entry(stage, config)
        elif stage.name not in rendered:
            rendered[stage.name] = {"foreach": _rounds(config), "do": _template(stage, config)}
    stream = StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump({"stages": rendered, "plots": _plots(config)}, stream)
    return _HEADER + stream.getvalue()


def is_current(project: Project, config: RunConfig) -> bool:
    """Tell whether dvc.yaml says what the registry says, and code.lock knows the code."""
    return _is_rendered(project, config) and code_lock.is_current(project, config)


def require_current(project: Project, config: RunConfig) -> None:
    """Refuse to work from a dvc.yaml that the registry would not render, or with code that code.lock does not know.

    Raises:
        ProjectError: one of them differs; ``secateur plan`` renders both.
    """
    if not _is_rendered(project, config):
        raise ProjectError(
            "dvc.yaml does not agree with secateur and params.yaml; run `secateur plan`, which renders it anew"
        )
    code_lock.require_current(project, config)


def require_ours(project: Project, config: RunConfig) -> None:
    """Refuse to replace a dvc.yaml that somebody else has written.

    Raises:
        ProjectError: it has what is never rendered, and does not say that it was.
    """
    file = project.pipeline_file
    if (own := _never_rendered(project, config)) and not _begins(file.read_bytes()):
        raise ProjectError(
            f"{file} is not one that secateur rendered: it has {own}, which rendering would replace; DVC reads a "
            "dvc.yaml in any folder, so move it into one (`wdir: ..` in its stages keeps their paths), then "
            "`secateur plan`"
        )


def update_pipeline(project: Project, config: RunConfig) -> bool:
    """Write dvc.yaml and code.lock where they are not current; tell whether dvc.yaml was written.

    A rendered one to which somebody has added something is kept beside the new one.

    Raises:
        ProjectError: as ``require_ours``.
    """
    require_ours(project, config)
    code_lock.update(project, config)
    if _is_rendered(project, config):
        return False
    if own := _never_rendered(project, config):
        kept = _keep_beside(project.pipeline_file)
        logger.warning(
            "dvc.yaml was rendered anew, without %s that somebody had added; as it was it lies in %s; stages of your "
            "own stay where they stand in a dvc.yaml in a folder below",
            own,
            kept.name,
        )
    write_text(project.pipeline_file, render(project, config))
    return True


def _never_rendered(project: Project, config: RunConfig) -> str:
    """Name what a dvc.yaml holds besides what any rendering has; nothing where there is none, or it is rendered."""
    if not project.pipeline_file.is_file() or _is_rendered(project, config):
        return ""
    try:
        found = read_yaml(project.pipeline_file.read_text(encoding="utf-8", errors="replace")) or {}
        listed = list(found.get("stages") or {})
    except (YAMLError, AttributeError, TypeError):
        return "something that is no pipeline"
    known = {stage.name for stage in stages(config, project.root)}
    own = [f"the stage {name}" for name in listed if name not in known]
    own += [f"{key}:" for key in found if key not in ("stages", "plots")]
    return ", ".join(own[:3]) + (f" and {len(own) - 3} more" if len(own) > 3 else "")


def _begins(content: bytes) -> bool:
    return content.startswith(_ANY_HEADER)


def _keep_beside(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.before{'' if number == 1 else number}") for number in count(1))
    free = next(name for name in names if not name.exists())
    write_bytes(free, file.read_bytes())
    return free


def _is_rendered(project: Project, config: RunConfig) -> bool:
    file = project.pipeline_file
    return file.is_file() and file.read_text(encoding="utf-8") == render(project, config)


def _entry(stage: Stage, config: RunConfig) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "cmd": stage.command,
        "deps": list(stage.dependencies),
        "params": [
            # DVC asks for every one of them; what params.yaml leaves to its default is code.
            *sorted(key for key in stage.keys if is_named(config, key)),
            {code_lock.FILE: [code_lock.parameter(stage.name)]},
        ],
    }
    for kind in ("out", "metric", "plot"):
        listed = [_output(output) for output in stage.outputs.values() if output.kind == kind]
        if listed:
            entry[f"{kind}s"] = listed
    return entry


def _rounds(config: RunConfig) -> str | dict[str, Any]:
    if is_named(config, "prune.rounds"):
        return "${prune.rounds}"
    return {name: {"prev": entry.prev} for name, entry in config.prune.rounds.items()}


def _output(output: Output) -> str | dict[str, Mapping[str, bool]]:
    # Metrics go to git, where people compare them between commits; everything else goes to DVC's cache.
    return {output.path: {"cache": False}} if output.kind == "metric" else output.path


def _template(stage: Stage, config: RunConfig) -> dict[str, Any]:
    """Turn the entry of the first round into the body of a ``foreach`` over the rounds."""
    assert stage.item is not None
    entry = _entry(stage, config)
    item, prev = stage.item, stage.inputs["prev"]
    entry["cmd"] = entry["cmd"].replace(f"@{item}", "@${key}")
    entry["params"] = [key.replace(f".{item}", ".${key}") if isinstance(key, str) else key for key in entry["params"]]
    entry["outs"] = [path.replace(f"/{item}", "/${key}") for path in entry["outs"]]
    entry["plots"] = [path.replace(f"/{item}.", "/${key}.") for path in entry["plots"]]
    # The dense model's card holds the digest of each of its files, so the card stands for the folder; the
    # folder itself would be named twice in r1, which DVC refuses.
    entry["deps"] = ["models/${item.prev}", "models/baseline/card.json"] + [
        path for path in entry["deps"] if path not in (prev, stage.inputs["dense"])
    ]
    return entry


def _plots(config: RunConfig) -> list[dict[str, Any]]:
    measure = kind_named(config.run.task).measure
    title = measure.title[:1].upper() + measure.title[1:]
    column = f"validation_{measure.name}"
    curves = {f"reports/training/{name}.csv": column for name in ("baseline", *config.prune.rounds)}
    return [
        {
            "learning curves": {
                "x": "epoch",
                "y": curves,
                "title": f"{title} on validation while training",
                "y_label": measure.title,
            }
        },
        {
            "quality against size": {
                "x": "macs",
                "y": {"reports/quality.csv": measure.name},
                "template": "scatter",
                "title": f"{title} on test against multiply-accumulates",
                "x_label": "MACs per row",
                "y_label": measure.title,
            }
        },
    ]
